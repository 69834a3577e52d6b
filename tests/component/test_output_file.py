"""A file output on a real filesystem: what consumers find, and which errors operators see."""

# The event loop of these tests has nothing else to do while they look at a file.

import os
import resource
import socket
from collections.abc import Iterator
from pathlib import Path
from stat import S_ISREG

import pytest

from refresherd.adapters.outputs.files import FileOutput
from refresherd.domain.errors import OutputError
from refresherd.domain.model import (
    FileSpec,
    Format,
    Instant,
    OnExpiry,
    Ownership,
    Secret,
    Token,
)
from refresherd.host import atomic_file
from refresherd.host.atomic_file import FileContext, Target
from refresherd.host.directories import temporary_name
from refresherd.host.keyed_executor import KeyedExecutor
from support.fakes import FakeClock
from support.file_writer import APP, beside, generation_of, held, output, token

SHORT = Token(Secret("t0ken"), "8f2b7a36", 7, Instant(1000.0), 600.0, Instant(1600.0))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return the path for a token, in an empty directory."""
    (tmp_path / "run").mkdir()
    return tmp_path / "run" / "payments.token"


@pytest.mark.parametrize(
    ("form", "text"),
    [
        (Format.RAW, "t0ken"),
        (Format.HEADER, "Authorization: Bearer t0ken\n"),
        (
            Format.JSON,
            (
                '{"app": "payments", "token_type": "Bearer", "access_token": "t0ken", '
                '"expires_at": "2023-11-14T22:40:00Z", '
                '"issued_at": "2023-11-14T22:30:00Z", "generation": 7, '
                '"entity_id": "8f2b7a36", "endpoint": "https://amer.smartkey.io"}\n'
            ),
        ),
        (
            Format.ENV,
            (
                "FORTANIX_API_ENDPOINT=https://amer.smartkey.io\n"
                "FORTANIX_ACCESS_TOKEN=t0ken\n"
                "FORTANIX_TOKEN_EXPIRES_AT=2023-11-14T22:40:00Z\n"
            ),
        ),
        (Format.SDKMS_CLI, "app-token=t0ken\nend-point=https://amer.smartkey.io\n"),
    ],
)
async def test_the_file_holds_the_token_in_its_format(path: Path, form: Format, text: str) -> None:
    """Consumers parse these bytes. In a file, `expires_in` would be wrong a second later."""
    clock = FakeClock(1169.5, offset=1_700_000_000.0)
    await FileOutput(APP, FileSpec(path, form), FileContext(clock, KeyedExecutor())).put(SHORT)
    assert path.read_bytes() == text.encode()
    assert beside(path) == []


async def test_a_token_is_replaced_by_a_new_file(path: Path) -> None:
    """A consumer that has the old file open goes on reading the whole old token."""
    target = output(path)
    await target.put(token(1))
    with path.open() as reader:
        await target.put(token(2))
        assert generation_of(reader.read()) == 1
    assert held(path) == 2
    assert beside(path) == []


async def test_the_same_token_is_written_again_when_asked(path: Path) -> None:
    """Somebody may have changed the file, so the caller decides what to write."""
    target = output(path)
    await target.put(token(1))
    path.write_text("scribble")
    await target.put(token(1))
    assert held(path) == 1


def test_an_outputs_name_is_its_path(path: Path) -> None:
    """Metrics use it as a label. An expired token stays or is removed, as configured."""
    specs = (FileSpec(path), FileSpec(path, on_expiry=OnExpiry.REMOVE))
    keeping, removing = (
        FileOutput(APP, spec, FileContext(FakeClock(), KeyedExecutor())) for spec in specs
    )
    assert keeping.name == removing.name == str(path)
    assert not keeping.removes_expired
    assert removing.removes_expired


async def test_removing_a_token_twice_is_no_error(path: Path) -> None:
    """A dead token must not stay, and somebody else may have removed it."""
    target = output(path)
    await target.put(token())
    await target.remove()
    assert not path.exists()
    await target.remove()
    path.parent.rmdir()
    await target.remove()


async def test_a_link_in_the_tokens_place_is_replaced(path: Path, tmp_path: Path) -> None:
    """The token must not be written to where a planted link points."""
    precious = tmp_path / "precious"
    precious.write_text("precious")
    path.symlink_to(precious)
    target = output(path)
    await target.prepare()
    await target.put(token())
    assert not path.is_symlink()
    assert held(path) == 1
    assert precious.read_text() == "precious"


async def test_a_linked_directory_is_followed(path: Path, tmp_path: Path) -> None:
    """On every host /var/run is a link to /run."""
    (tmp_path / "link").symlink_to(path.parent)
    await output(tmp_path / "link" / path.name).put(token())
    assert held(path) == 1


@pytest.mark.parametrize("kind", ["fifo", "socket", "loop"])
async def test_a_planted_file_cannot_block_a_write(path: Path, kind: str) -> None:
    """Opening a FIFO for writing waits for a reader, so the old file is never opened."""
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "socket":
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(path))
        listener.close()
    else:
        path.symlink_to(path)
    await output(path).put(token())
    assert S_ISREG(path.lstat().st_mode)
    assert held(path) == 1


def test_a_link_in_the_temporary_files_place_is_not_followed(path: Path, tmp_path: Path) -> None:
    """Otherwise somebody who guesses the name could have any file of root overwritten."""
    precious = tmp_path / "precious"
    precious.write_text("precious")
    target = Target.at(path, Ownership())
    planted = path.with_name(f".{target.name}.guessed.tmp")
    planted.symlink_to(precious)
    with pytest.raises(OutputError, match="cannot write it: File exists"):
        atomic_file.replace(target, b"token", "guessed")
    assert planted.is_symlink()
    assert precious.read_text() == "precious"
    assert not path.exists()


async def test_only_temporary_files_of_killed_runs_are_removed(path: Path) -> None:
    """Each may hold a live token. Files that are not ours must stay."""
    ours = [f".payments.token.{nonce}.tmp" for nonce in ("0123456789abcdef", "f" * 16)]
    others = [
        ".billing.token.0123456789abcdef.tmp",
        ".payments.token.0123456789ABCDEF.tmp",
        ".payments.token.0123456789abcdef",
        ".payments.token.0123456789abcdef.tmp~",
        ".payments.token.0123456789abcdef0.tmp",
        ".payments.token..tmp",
        ".payments.token.tmp",
        "payments.token.0123456789abcdef.tmp",
    ]
    for name in (*ours, *others):
        path.with_name(name).write_text("leftover")
    directory = path.with_name(".payments.token.aaaaaaaaaaaaaaaa.tmp")
    directory.mkdir()
    path.write_text("an earlier run's token")
    await output(path).prepare()
    assert beside(path) == sorted([*others, directory.name])
    assert path.read_text() == "an earlier run's token"


async def test_outputs_of_one_directory_remove_their_temporary_files(path: Path) -> None:
    """They share one listing of the directory, and none must be forgotten."""
    paths = [path.with_name(name) for name in ("a", "b", "a.0123456789abcdef")]
    for each in paths:
        each.with_name(f".{each.name}.0123456789abcdef.tmp").write_text("leftover")
    files = FileContext(FakeClock(), KeyedExecutor())
    targets = [FileOutput(APP, FileSpec(each), files) for each in paths]
    for left, target in zip((2, 1, 0), targets, strict=True):
        await target.prepare()
        assert len(list(path.parent.iterdir())) == left


async def test_each_prepare_removes_newer_temporary_files(path: Path) -> None:
    """A reload may come days after the start, and killed runs may have left files meanwhile."""
    clock = FakeClock()
    target = FileOutput(APP, FileSpec(path), FileContext(clock, KeyedExecutor()))
    for _ in range(2):
        path.with_name(f".{path.name}.0123456789abcdef.tmp").write_text("leftover")
        await target.prepare()
        assert beside(path) == []
        clock.advance(2)


@pytest.mark.parametrize("name", ["x" * 233, "x" * 234, "x" * 255, "ä" * 127])
async def test_every_name_that_a_file_may_have_works(path: Path, name: str) -> None:
    """The temporary file's name has to be short enough as well, and to be found again."""
    target = output(path.with_name(name))
    await target.prepare()
    await target.put(token())
    assert held(path.with_name(name)) == 1
    left = path.with_name(temporary_name(name, "0123456789abcdef"))
    for other in (left, path.with_name(temporary_name("y" * 255, "0123456789abcdef"))):
        other.write_text("leftover")
    await output(path.with_name(name)).prepare()
    assert beside(path.with_name(name)) == [other.name]


@pytest.mark.parametrize("verb", ["prepare", "put"])
async def test_the_message_for_a_missing_directory_has_a_remedy(path: Path, verb: str) -> None:
    """This is the most common mistake. It is over as soon as the directory is there."""
    path.parent.rmdir()
    target = output(path)
    with pytest.raises(OutputError) as caught:
        await (target.prepare() if verb == "prepare" else target.put(token()))
    assert str(caught.value) == (
        f"{path}: cannot write it: No such file or directory; "
        "create its directory, or have systemd do so (RuntimeDirectory=)"
    )
    path.parent.mkdir()
    await target.put(token())
    assert held(path) == 1


async def test_a_recreated_directory_gets_the_next_token(path: Path) -> None:
    """When a unit stops, systemd removes its RuntimeDirectory=, and makes another at the start."""
    target = output(path)
    await target.put(token(1))
    path.unlink()
    path.parent.rmdir()
    path.parent.mkdir()
    await target.put(token(2))
    assert held(path) == 2


@pytest.mark.parametrize("verb", ["prepare", "put", "remove"])
async def test_a_directory_in_the_tokens_place_is_refused(path: Path, verb: str) -> None:
    """A container runtime makes one when it is told to mount a file that does not exist."""
    path.mkdir()
    target = output(path)
    call = {"prepare": target.prepare, "remove": target.remove}.get(verb)
    with pytest.raises(OutputError, match="Is a directory; remove the directory in its place"):
        await (call() if call else target.put(token()))
    assert path.is_dir()
    assert beside(path) == []


async def test_a_mount_in_the_tokens_place_is_refused() -> None:
    """Nothing can be renamed over a mount, and the operator hears of it before any login."""
    with pytest.raises(OutputError, match="it is a mount point: mount its directory instead"):
        await output(Path("/proc")).prepare()


async def test_a_directory_that_cannot_be_synced_is_accepted() -> None:
    """Some filesystems, such as /proc, return EINVAL for the fsync of a directory."""
    await output(Path("/proc/self/no-such-token")).remove()


async def test_a_file_in_the_directorys_place_is_refused(path: Path) -> None:
    """The operator sees which part of the path is wrong."""
    path.parent.rmdir()
    path.parent.write_text("")
    for refused in (output(path).prepare(), output(path).put(token()), output(path).remove()):
        with pytest.raises(OutputError, match="Not a directory; its parent is not a directory"):
            await refused


async def test_a_name_that_no_file_can_have_is_refused(path: Path) -> None:
    """The reason is the kernel's."""
    target = output(path.with_name("x" * 256))
    with pytest.raises(OutputError, match="cannot write it: File name too long"):
        await target.prepare()


@pytest.fixture
def few_files() -> Iterator[None]:
    """Let the process open no more files, once its event loop and threads are running."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("few_files")
@pytest.mark.parametrize("spare", [0, 1])
async def test_a_lack_of_descriptors_is_an_error_until_it_is_over(path: Path, spare: int) -> None:
    """The daemon has thousands of connections, and must not leave half a file."""
    target = output(path)
    await target.put(token(1))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.open("/", os.O_RDONLY)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free + spare, hard))
    with pytest.raises(OutputError, match="Too many open files; raise the limit"):
        await target.put(token(2))
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert held(path) == 1
    assert beside(path) == []
    await target.put(token(2))
    assert held(path) == 2


@pytest.mark.parametrize("call", ["prepare", "put", "remove"])
async def test_nothing_changes_in_a_directory_that_is_refused(path: Path, call: str) -> None:
    """A link may lead to the keys' directory by now: neither a write nor a removal may hit one."""

    def refuse(directory: int, target: str, name: str) -> None:
        assert (target, name) == (str(path), path.name)
        assert os.path.samestat(os.fstat(directory), path.parent.stat())
        raise OutputError(f"{target}: it is another's")

    path.write_text("a key")
    path.with_name(temporary_name(path.name, "0123456789abcdef")).write_text("another's")
    files = FileContext(FakeClock(), KeyedExecutor(), claim=refuse)
    refused = FileOutput(APP, FileSpec(path), files)
    calls = {
        "prepare": refused.prepare,
        "put": lambda: refused.put(SHORT),
        "remove": refused.remove,
    }
    with pytest.raises(OutputError, match="it is another's"):
        await calls[call]()
    assert path.read_text() == "a key"
    assert len(beside(path)) == 1


def descriptors() -> int:
    """Count this process's open files."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


async def test_a_thousand_writes_leave_no_descriptor_open(path: Path) -> None:
    """A leak of one per failure would end the daemon in one night with a full disk."""
    good, refused = output(path), output(path, Ownership(owner="no-such-user"))
    missing, directory = output(path / "below" / "token"), output(path.parent)
    await good.put(token())
    before = descriptors()
    for _ in range(200):
        await good.put(token())
        for failing in (refused, missing, directory):
            with pytest.raises(OutputError):
                await failing.put(token())
        await good.prepare()
    assert descriptors() == before
    assert beside(path) == []
