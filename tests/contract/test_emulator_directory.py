"""What an emulator keeps in a directory, and what it leaves alone there."""

import json
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from cryptography.x509 import load_pem_x509_certificate

from refresherd.config import load
from refresherd.domain.model import ApiKeyFile, Certificate, LdapApp
from refresherd.emulator import Emulator, Options
from refresherd.emulator.directory import DirectoryError, EmulatorDirectory


@asynccontextmanager
async def running(
    directory: Path, *kinds: str, listen: str = "127.0.0.1:0", tls: bool = False
) -> AsyncIterator[tuple[Emulator, EmulatorDirectory]]:
    """Run an emulator on a directory, with new apps of these kinds."""
    with EmulatorDirectory(directory) as kept:
        where = kept.listen(listen)
        options = Options(apps=0, listen=where, tls=tls or kept.tls, directory=kept.path)
        emulator = Emulator(options)
        kept.restore(emulator)
        for kind in kinds:
            emulator.apps.add(certificate=kind == "certificate", ldap=kind == "ldap")
        async with emulator:
            kept.publish(emulator, where)
            yield emulator, kept


def contents(directory: Path) -> dict[str, bytes]:
    """Return the content of every file, except for the server's own certificate."""
    return {
        path.name: path.read_bytes()
        for path in directory.iterdir()
        if not path.name.startswith("server.")
    }


async def test_a_restart_changes_nothing(tmp_path: Path) -> None:
    """A daemon that was configured for the emulator finds it again, sessions aside."""
    directory = tmp_path / "dsm"
    async with running(directory, "api_key", "certificate", "ldap", tls=True) as (before, _):
        url, apps = before.url, [(app.id, app.name, app.secret) for app in before.apps]
        account, files = before.apps.account_id, contents(directory)
    async with running(directory) as (after, kept):
        assert after.url == url
        assert [(app.id, app.name, app.secret) for app in after.apps] == apps
        assert after.apps.account_id == account
        assert contents(directory) == files
        assert kept.changed == []


async def test_the_configuration_works_as_it_is(tmp_path: Path) -> None:
    """Nothing has to be filled in, copied or created, wherever the daemon is started."""
    directory = tmp_path / "dsm"
    kinds = ("api_key", "certificate", "ldap")
    async with running(directory, *kinds, tls=True) as (emulator, _):
        configuration = load(directory / "config.toml", {})
        assert (configuration.troubles, configuration.warnings) == ((), ())
        credentials = [type(app.credential) for app in configuration.apps]
        assert credentials == [ApiKeyFile, Certificate, LdapApp]
        assert {app.endpoint.url for app in configuration.apps} == {emulator.url}
        assert [app.files[0].path.parent for app in configuration.apps] == [directory] * 3


async def test_only_their_owner_may_read_keys(tmp_path: Path) -> None:
    """The daemon refuses keys that others can read, and people copy what they see here."""
    directory = tmp_path / "dsm"
    async with running(directory, "api_key", "certificate", "ldap", tls=True):
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
        public = {"ca.pem", "server.pem"}
        for path in directory.iterdir():
            if path.name not in public and not path.name.startswith("client-"):
                assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
        (key,) = directory.glob("client-*.key")
        assert stat.S_IMODE(key.stat().st_mode) == 0o600


@pytest.mark.parametrize("name", ["config.toml", "ca.pem", "ca.key", "server.key", "app-1.api-key"])
async def test_a_foreign_file_is_never_overwritten(tmp_path: Path, name: str) -> None:
    """Somebody may name their project's directory, or /etc/refresherd."""
    foreign = tmp_path / name
    foreign.write_text("mine")
    with pytest.raises(DirectoryError, match=f"it holds {name}, which no emulator wrote"):
        async with running(tmp_path, "api_key"):
            pass
    assert foreign.read_text() == "mine"


async def test_a_link_is_not_followed(tmp_path: Path) -> None:
    """A link to the real configuration is no invitation to replace that."""
    target, directory = tmp_path / "real.toml", tmp_path / "dsm"
    async with running(directory, "api_key"):
        pass
    target.write_text((directory / "config.toml").read_text())
    (directory / "config.toml").unlink()
    (directory / "config.toml").symlink_to(target)
    async with running(directory, "api_key") as (_, kept):
        assert kept.changed == ["config.toml"]
    assert (directory / "config.toml").is_symlink()


async def test_what_somebody_has_changed_stays(tmp_path: Path) -> None:
    """People add outputs to the configuration, and try what a wrong key does."""
    async with running(tmp_path, "api_key"):
        pass
    for name in ("config.toml", "app-1.api-key"):
        (tmp_path / name).write_text("mine")
    async with running(tmp_path, "api_key") as (_, kept):
        assert sorted(kept.changed) == ["app-1.api-key", "config.toml"]
    assert (tmp_path / "config.toml").read_text() == "mine"
    (tmp_path / "config.toml").unlink()
    async with running(tmp_path) as (emulator, kept):
        assert kept.changed == ["app-1.api-key"]
        assert emulator.url in (tmp_path / "config.toml").read_text()


async def test_a_run_that_was_killed_early_is_no_obstacle(tmp_path: Path) -> None:
    """It had written the files, but had not recorded that yet."""
    async with running(tmp_path, "api_key"):
        pass
    state = json.loads((tmp_path / "emulator.json").read_text())
    (tmp_path / "emulator.json").write_text(json.dumps(state | {"written": {}}))
    async with running(tmp_path) as (_, kept):
        assert kept.changed == []


async def test_a_directory_in_a_files_place_is_left_alone(tmp_path: Path) -> None:
    """Whatever it is, it is not the emulator's."""
    async with running(tmp_path, "api_key"):
        pass
    (tmp_path / "config.toml").unlink()
    (tmp_path / "config.toml").mkdir()
    async with running(tmp_path) as (_, kept):
        assert kept.changed == ["config.toml"]


async def test_an_untouched_configuration_follows_the_emulator(tmp_path: Path) -> None:
    """Another address or one more app must not leave it out of date."""
    async with running(tmp_path, "api_key"):
        pass
    async with running(tmp_path, "api_key", listen="[::1]:0", tls=True) as (emulator, kept):
        text = (tmp_path / "config.toml").read_text()
        assert emulator.url.startswith("https://[::1]:")
        assert emulator.url in text
        assert "[apps.app-2]" in text
        assert kept.changed == []


async def test_changes_while_it_runs_are_kept(tmp_path: Path) -> None:
    """A secret that was reset stays reset, and an app that was added stays.

    The key's file changes at the next start only: DSM changes no file on anybody's host.
    """
    async with running(tmp_path, "api_key") as (emulator, _):
        old = emulator.apps[0].api_key
        emulator.apps.reset_secret(emulator.apps[0])
        emulator.apps.add("billing.eu")
        assert (tmp_path / "app-1.api-key").read_text() == old
    async with running(tmp_path) as (emulator, _):
        assert [app.name for app in emulator.apps] == ["app-1", "billing.eu"]
        assert emulator.apps[0].api_key != old
        assert (tmp_path / "app-1.api-key").read_text() == emulator.apps[0].api_key
        assert [app.name for app in load(tmp_path / "config.toml", {}).apps] == [
            "app-1",
            "billing.eu",
        ]


async def test_any_name_of_an_app_can_be_configured(tmp_path: Path) -> None:
    """DSM's names are free text, which is neither a file's name nor a table's."""
    async with running(tmp_path) as (emulator, _):
        for name in ("../up", 'a "quoted" name', "ca", "emulator.json"):
            emulator.apps.add(name)
        emulator.apps.add("Zahlungen \u2713 \U0001f600", ldap=True, password='open "s\u00e9same"')
    async with running(tmp_path) as (emulator, _):
        apps = load(tmp_path / "config.toml", {}).apps
        uuids = [app.id for app in emulator.apps]
        assert [app.name for app in apps] == [*uuids[:2], "ca", "emulator.json", uuids[-1]]
        ldap = apps[-1].credential
        assert isinstance(ldap, LdapApp)
        assert ldap.app_name == "Zahlungen \u2713 \U0001f600"
        assert ldap.password_file.read_text() == 'open "s\u00e9same"'


async def test_only_one_emulator_uses_a_directory(tmp_path: Path) -> None:
    """Each would forget the other's apps."""
    async with running(tmp_path, "api_key"):
        with (
            pytest.raises(DirectoryError, match="another emulator uses it"),
            EmulatorDirectory(tmp_path),
        ):
            pass
    with EmulatorDirectory(tmp_path):
        pass


async def test_a_damaged_state_is_named(tmp_path: Path) -> None:
    """The message names the cure."""
    async with running(tmp_path, "api_key"):
        pass
    (tmp_path / "emulator.json").write_text('{"apps": 5}')
    with (
        pytest.raises(
            DirectoryError, match=r"emulator.json is damaged .*; remove emulator.json and"
        ),
        EmulatorDirectory(tmp_path),
    ):
        pass


@pytest.mark.parametrize("damage", ["", "-----BEGIN CERTIFICATE-----\nx\n", "other"])
async def test_a_damaged_ca_is_named(tmp_path: Path, damage: str) -> None:
    """A new CA made in silence would be refused by whoever trusts the old one."""
    async with running(tmp_path / "a", "api_key", tls=True):
        pass
    async with running(tmp_path / "b", "api_key", tls=True):
        pass
    other = (tmp_path / "b" / "ca.pem").read_text()
    (tmp_path / "a" / "ca.pem").write_text(other if damage == "other" else damage)
    with pytest.raises(ValueError, match=r"ca.pem and ca.key are not .*; remove both to get a new"):
        async with running(tmp_path / "a"):
            pass


async def test_a_ca_without_its_key_is_not_replaced(tmp_path: Path) -> None:
    """Its certificate may be trusted by clients, or belong to somebody else."""
    async with running(tmp_path, "api_key", tls=True):
        pass
    (tmp_path / "ca.key").unlink()
    before = (tmp_path / "ca.pem").read_bytes()
    with pytest.raises(ValueError, match="remove both to get a new CA"):
        async with running(tmp_path):
            pass
    assert (tmp_path / "ca.pem").read_bytes() == before


async def test_a_new_ca_issues_new_client_certificates(tmp_path: Path) -> None:
    """The emulator would close connections that show one of the old CA, without a reason."""
    async with running(tmp_path, "certificate", tls=True):
        pass
    (old,) = [path.read_bytes() for path in tmp_path.glob("client-*.pem")]
    for name in ("ca.pem", "ca.key"):
        (tmp_path / name).unlink()
    async with running(tmp_path):
        pass
    (new,) = [path.read_bytes() for path in tmp_path.glob("client-*.pem")]
    certificate, ca = map(load_pem_x509_certificate, (new, (tmp_path / "ca.pem").read_bytes()))
    assert new != old
    certificate.verify_directly_issued_by(ca)


async def test_a_directory_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    """The messages say what to do."""
    (tmp_path / "file").touch()
    for path, message in (
        (tmp_path / "file", "it is not a directory"),
        (tmp_path / "a" / "b", "its parent directory does not exist"),
    ):
        with pytest.raises(DirectoryError, match=message), EmulatorDirectory(path):
            pass


async def test_a_directory_that_anybody_may_write_to_is_refused(tmp_path: Path) -> None:
    """The daemon takes no configuration that others may replace."""
    tmp_path.chmod(0o777)
    with pytest.raises(DirectoryError, match=r"anybody may write to it.*run chmod o-w"):
        async with running(tmp_path, "api_key"):
            pass
    assert list(tmp_path.iterdir()) == []


async def test_a_path_too_long_for_a_socket_gets_none(tmp_path: Path) -> None:
    """The rest of the configuration works, so it must not fail for its API socket."""
    directory = tmp_path / ("x" * 100)
    async with running(directory, "api_key"):
        assert load(directory / "config.toml", {}).api.path is None


async def test_plain_http_on_the_network_is_refused(tmp_path: Path) -> None:
    """The daemon takes http:// for loopback hosts only, so that configuration could not work."""
    with EmulatorDirectory(tmp_path) as kept:
        emulator = Emulator(Options(listen="dsm.example:0", directory=tmp_path))
        with pytest.raises(DirectoryError, match="for loopback hosts only; add --tls"):
            kept.publish(emulator, "dsm.example:0")
