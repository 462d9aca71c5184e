"""Where an engine may serve: what is wrong with an address is told with what to choose instead."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from client.errors import FailedPrecondition
from engine import serve


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid"])
def test_an_address_that_this_machine_does_not_have_is_the_hosts_fault(host: str) -> None:
    with pytest.raises(FailedPrecondition, match="cannot listen") as refused:
        serve.bind(host, 0)
    assert "--host" in (refused.value.hint or "")


def test_a_port_that_is_taken_is_the_ports_fault() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(FailedPrecondition) as refused:
        serve.bind("127.0.0.1", taken.getsockname()[1])
    assert refused.value.hint == "choose another --port"


def test_a_file_in_the_place_of_the_data_folder_is_told_as_that(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    for folder in (file, file / "below"):
        with pytest.raises(FailedPrecondition, match="there is a file"):
            serve.check_data_dir(folder)
