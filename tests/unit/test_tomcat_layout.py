"""An instance's files and command, for every Tomcat that is supported."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import pytest

from deployer.errors import ConfigurationError
from deployer.server.java import Java
from deployer.tomcat.home import TomcatHome
from deployer.tomcat.layout import InstanceSpec, Peer, base_argument, files, java_command

SPEC = InstanceSpec(
    name="temp",
    base=Path("/srv/shop/temp"),
    http_port=8082,
    control_port=8092,
    cluster_port=4102,
    unique_id=2,
    log_file=Path("/srv/shop/temp/logs/tomcat.log"),
    tomcat_major=10,
    encryption_key="000102030405060708090a0b0c0d0e0f",
    control_password="secret",
    peers=(Peer(4101, 1),),
)


def home(*version: int) -> TomcatHome:
    return TomcatHome(Path("/opt/tomcat"), version, (), Path("/opt/tomcat/conf/web.xml"))


def server(spec: InstanceSpec) -> ET.Element:
    return ET.fromstring(files(spec)["conf/server.xml"].text)


@pytest.mark.parametrize("major", [9, 10, 11])
@pytest.mark.parametrize("replicate", [True, False])
def test_every_xml_file_is_well_formed(major: int, replicate: bool) -> None:
    made = files(replace(SPEC, tomcat_major=major, replicate=replicate))
    for path, file in made.items():
        if path.endswith(".xml"):
            ET.fromstring(file.text)
    assert {file.mode for file in made.values()} == {0o640}


def test_the_control_service_comes_first_so_that_it_answers_during_the_start() -> None:
    root = server(SPEC)
    assert [service.get("name") for service in root.findall("Service")] == ["control", "Catalina"]
    ports = [connector.get("port") for connector in root.iter("Connector")]
    assert ports == ["8092", "8082"]
    assert {connector.get("address") for connector in root.iter("Connector")} == {"127.0.0.1"}
    assert root.get("port") == "-1"


def test_a_taken_port_ends_the_jvm_and_the_http_port_opens_last() -> None:
    control, http = server(SPEC).iter("Connector")
    assert control.get("throwOnFailure") == http.get("throwOnFailure") == "true"
    assert http.get("bindOnInit") == "false"


def test_the_cluster_knows_both_members_and_is_encrypted() -> None:
    root = server(SPEC)
    local, member = root.find(".//LocalMember"), root.find(".//Member")
    assert local is not None
    assert member is not None
    assert local.get("uniqueId") == "{0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,2}"
    assert (member.get("port"), member.get("uniqueId")) == ("4101", "{0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,1}")
    cluster = root.find(".//Cluster")
    assert cluster is not None
    assert cluster.get("channelSendOptions") == "6"
    keys = [part.get("encryptionKey") for part in root.iter("Interceptor") if part.get("encryptionKey")]
    assert keys == [SPEC.encryption_key]
    assert "DeltaManager" in files(SPEC)["conf/context.xml"].text


def test_java_bytes_are_signed() -> None:
    local = server(replace(SPEC, unique_id=200)).find(".//LocalMember")
    assert local is not None
    assert local.get("uniqueId", "").endswith(",-56}")


def test_without_replication_there_is_no_cluster_port() -> None:
    spec = replace(SPEC, replicate=False, encryption_key="")
    assert server(spec).find(".//Cluster") is None
    assert "DeltaManager" not in files(spec)["conf/context.xml"].text
    assert spec.ports == (8082, 8092)


def test_what_fills_a_template_is_escaped() -> None:
    hostile = replace(SPEC, control_password="a\"<&'>{x}")
    user = ET.fromstring(files(hostile)["conf/control-users.xml"].text).find("user")
    assert user is not None
    assert user.get("password") == "a\"<&'>{x}"
    assert hostile.control_password not in repr(hostile)
    assert hostile.encryption_key not in repr(hostile)


def test_the_remote_ip_valve_believes_loopback_only() -> None:
    valves = [valve for valve in server(SPEC).iter("Valve") if "RemoteIpValve" in valve.get("className", "")]
    assert valves[0].get("internalProxies") == r"127\.\d{1,3}\.\d{1,3}\.\d{1,3}|0:0:0:0:0:0:0:1|::1"


@pytest.mark.parametrize(("context", "webapp"), [("", "ROOT"), ("/shop", "shop"), ("/a/b", "a#b")])
def test_context_paths_become_file_names(context: str, webapp: str) -> None:
    assert replace(SPEC, context=context).webapp == webapp


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"context": "shop"}, "context 'shop'"),
        ({"context": "/shop/"}, "context"),
        ({"context": "/a##2"}, "context"),
        ({"control_port": 8082}, "must differ"),
        ({"http_port": 70000}, "70000"),
        ({"base": Path("var/tomcat")}, "absolute"),
        ({"unique_id": 1}, "ids"),
        ({"encryption_key": "abc"}, "hex"),
    ],
)
def test_impossible_specs_are_refused(change: dict[str, object], named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        replace(SPEC, **change)  # type: ignore[arg-type]


def test_the_command_of_each_tomcat() -> None:
    ten = java_command(SPEC, home(10, 1, 60), Java(Path("/jdk/bin/java"), 17))
    assert ten[0] == "/jdk/bin/java"
    assert ten[-2:] == ["org.apache.catalina.startup.Bootstrap", "start"]
    assert base_argument(SPEC.base) in ten
    assert "--add-opens=java.rmi/sun.rmi.transport=ALL-UNNAMED" in ten
    assert "-Dsun.io.useCanonCaches=false" in ten

    nine = java_command(SPEC, home(9, 0, 90), Java(Path("/jdk8/bin/java"), 8))
    assert not [argument for argument in nine if argument.startswith("--")]

    eleven = java_command(SPEC, home(11, 0, 5), Java(Path("/jdk/bin/java"), 21))
    assert "--enable-native-access=ALL-UNNAMED" in eleven
    assert not [argument for argument in eleven if "protocol.handler" in argument or "CanonCaches" in argument]


def test_the_operators_jvm_options_win() -> None:
    spec = replace(SPEC, jvm=("-Xmx2g", "-XX:+UseZGC"))
    command = java_command(spec, home(10, 1, 60), Java(Path("/jdk/bin/java"), 21))
    assert command.index("-Xmx2g") > command.index("-Xmx256m")
    assert "-XX:+UseSerialGC" not in command
