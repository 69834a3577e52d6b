"""What Grafana would refuse, or show in a mess: Grafana itself is not to be had for the tests."""

import json
from itertools import combinations
from typing import Any

import yaml

from support.documentation import CHECKOUT

PLACE = CHECKOUT / "deploy" / "grafana"

DASHBOARD: dict[str, Any] = json.loads((PLACE / "refresherd.json").read_text())

PANELS = DASHBOARD["panels"]


def test_panels_do_not_overlap() -> None:
    """Grafana moves panels that do, and whoever saves the dashboard gets a long difference."""
    for one, other in combinations((panel["gridPos"] for panel in PANELS), 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        above = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or above, (one, other)
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in PANELS)


def test_each_panel_and_query_has_a_name_of_its_own() -> None:
    """Links and transformations refer to them."""
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)
    for panel in PANELS:
        names = [target["refId"] for target in panel.get("targets", ())]
        assert len(set(names)) == len(names)


def test_every_query_goes_to_the_chosen_data_source() -> None:
    """Each installation has other ones, so none may be fixed."""
    variables = {one["name"]: one for one in DASHBOARD["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    asking = [target for panel in PANELS for target in panel.get("targets", ())]
    asking += [panel for panel in PANELS if panel["type"] != "row"]
    asking += [one for one in variables.values() if one["type"] == "query"]
    asking += DASHBOARD["annotations"]["list"]
    chosen = {"type": "prometheus", "uid": "${datasource}"}
    assert all(one["datasource"] == chosen for one in asking)


def test_the_dashboard_keeps_its_address() -> None:
    """People bookmark it, and the provisioned one replaces the former."""
    assert DASHBOARD["uid"] == "refresherd"
    assert "id" not in DASHBOARD


def test_grafana_finds_the_dashboard_where_the_page_installs_it() -> None:
    """The directory is named in three places."""
    (provider,) = yaml.safe_load((PLACE / "provisioning.yml").read_text())["providers"]
    page = (CHECKOUT / "docs" / "monitoring.md").read_text()
    path = provider["options"]["path"]
    assert f"deploy/grafana/refresherd.json {path}/refresherd.json\n" in page
