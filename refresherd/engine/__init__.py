"""What happens over time to each app's session, behind ports to the outside."""
