"""Archives that nobody vouches for: what is wrong with them is found before memory is set aside."""

from __future__ import annotations

import io
import re
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assay.datasets.errors import AssayError, FormatError
from assay.datasets.formats.containers.npz import npz_names, open_npz, write_npz
from tests.datasets.dataset_strategies import DTYPES, SHAPES, random_array


def member(header: str | bytes, payload: bytes = b"", version: bytes = b"\x01\x00") -> bytes:
    header = header.encode() if isinstance(header, str) else header
    length = struct.pack("<H", len(header)) if version == b"\x01\x00" else struct.pack("<I", len(header))
    return b"\x93NUMPY" + version + length + header + payload


def header(descr: str, shape: str, order: str = "False") -> str:
    return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}\n"


def archive(path: Path, *members: tuple[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, content in members:
            file.writestr(name, content)
    return path


def read_all(path: Path) -> dict[str, np.ndarray]:
    with open_npz(path) as file:
        return {name: file.read(name) for name in file.names}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_what_numpy_writes_is_read_and_what_we_write_numpy_reads(tmp_path: Path, data: st.DataObject) -> None:
    generator = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    arrays = {}
    for name in data.draw(
        st.lists(st.sampled_from(["a", "b/c", "infos/qpos.x", "file", "d e"]), min_size=1, unique=True)
    ):
        shape = (data.draw(st.integers(0, 20)), *data.draw(st.sampled_from(SHAPES)))
        array = random_array(generator, data.draw(st.sampled_from(DTYPES)), shape)
        array = array.astype(array.dtype.newbyteorder(data.draw(st.sampled_from("<>"))))
        arrays[name] = np.asfortranarray(array) if data.draw(st.booleans()) else array
    if data.draw(st.booleans()):
        with zipfile.ZipFile(tmp_path / "a.npz", "w", data.draw(st.sampled_from([0, zipfile.ZIP_DEFLATED]))) as file:
            for name, array in arrays.items():
                buffer = io.BytesIO()
                np.save(buffer, array, allow_pickle=False)
                file.writestr(f"{name}.npy", buffer.getvalue())
        result = read_all(tmp_path / "a.npz")
    else:
        write_npz(tmp_path / "a.npz", arrays.items(), compress=data.draw(st.booleans()))
        with np.load(tmp_path / "a.npz", allow_pickle=False) as loaded:
            result = {name: loaded[name] for name in loaded.files}
    assert list(result) == list(arrays)
    for name, array in arrays.items():
        assert (result[name].dtype, result[name].shape) == (array.dtype, array.shape)
        assert result[name].tobytes() == array.tobytes()


def test_the_same_arrays_give_the_same_bytes(tmp_path: Path) -> None:
    for name in "ab":
        write_npz(tmp_path / name, [("x", np.arange(9))], compress=True)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_describing_reads_no_data_and_names_the_dtype_and_shape(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.zeros((3, 4), np.float16))
    with open_npz(tmp_path / "a.npz") as file:
        assert file.describe("x") == (np.dtype(np.float16), (3, 4))
        assert file.readable("x")


def test_objects_are_refused_by_name_and_never_unpickled(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (Path.touch, (Path(tmp_path, "sprung"),))  # type: ignore[return-value]

    np.savez(tmp_path / "a.npz", infos=np.array([Trap(), {}], object), fine=np.arange(2))
    with open_npz(tmp_path / "a.npz") as file:
        assert not file.readable("infos")
        assert file.read("fine").tolist() == [0, 1]
        with pytest.raises(FormatError, match=r"array infos holds Python objects, .* that is never done"):
            file.read("infos")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (member(header("'<f8'", "(1000000000000, 1000)")), "declares float64"),
        (member(header("'<f8'", "(1000000000000000000000000, 0)")), "damaged"),
        (member(header("'<f8'", "(-1, 2)"), bytes(16)), "declares the shape"),
        (member(header("'<f8'", "(True,)"), bytes(8)), "declares the shape"),
        (member(header("'<f8'", "(2,)"), bytes(15)), "15|damaged"),
        (member(header("'<f8'", "(2,)"), bytes(17)), "damaged"),
        (member(header("'<f8'", f"({', '.join('1' * 70)})"), bytes(8)), "damaged"),
        (member(header("'|O'", "(2,)"), bytes(16)), "Python objects"),
        (member(header("[('a', '<f8'), ('b', '|O')]", "(2,)"), bytes(32)), "Python objects"),
        (member(header("[('a', '<f8')]", "(2,)"), bytes(16)), "numbers, booleans and text"),
        (member(header("'<M8[s]'", "(2,)"), bytes(16)), "numbers, booleans and text"),
        (member(header("'|V8'", "(2,)"), bytes(16)), "numbers, booleans and text"),
        (member(header("'<U0'", "(2,)")), "numbers, booleans and text"),
        (member(header("'|b1'", "(2,)"), b"\x01\x02"), "booleans other than 0 and 1"),
        (member(header("'<U1'", "(1,)"), b"\xff\xff\xff\xff"), "characters that do not exist"),
        (member(header("'>U1'", "(1,)"), b"\x00\x11\x00\x00"), "characters that do not exist"),
        (member(header("'<U2'", "(1,)"), b"a\0\0\0\0\xd8\0\0"), "characters that do not exist"),
        (member("(" * 5000), "damaged"),
        (member("[" * 60000), "damaged"),
        (
            member("{'descr': '<f8', 'fortran_order': False, 'shape': (1,), 'x': " + "-" * 9000 + "1}"),
            "not a NumPy array",
        ),
        (member(b"\xff\xfe" * 40), "not a NumPy array|damaged"),
        (member(header("'<f8'", "(1,)"), bytes(8), b"\x09\x00"), "not a NumPy array"),
        (b"\x93NUMPY\x01\x00\xff\xff", "not a NumPy array|damaged"),
        (b"", "not a NumPy array|damaged"),
        (b"MZ\x90\x00", "not a NumPy array|damaged"),
    ],
)
def test_impossible_members_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = archive(tmp_path / "a.npz", ("x.npy", content))
    with open_npz(path) as file, pytest.raises(FormatError, match=message) as caught:
        file.read("x")
    assert str(path) in str(caught.value)
    assert "array x" in str(caught.value)


def test_a_name_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    np.save(buffer, np.arange(2))
    with pytest.warns(UserWarning, match="Duplicate"):
        archive(tmp_path / "a.npz", ("x.npy", buffer.getvalue()), ("x.npy", buffer.getvalue()))
    archive(tmp_path / "b.npz", ("x.npy", buffer.getvalue()), ("x", buffer.getvalue()))
    for name in "ab":
        with pytest.raises(FormatError, match="'x' twice"):
            read_all(tmp_path / f"{name}.npz")


def test_members_that_overlap_are_refused(tmp_path: Path) -> None:
    # David Fifield's construction: many entries of the directory over the same packed bytes.
    path = tmp_path / "a.npz"
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(1 << 17))
    archive(path, ("x.npy", buffer.getvalue()), compression=zipfile.ZIP_DEFLATED)
    content = path.read_bytes()
    start, end = content.index(b"PK\x01\x02"), content.index(b"PK\x05\x06")
    entry = content[start:end]
    directory = b"".join(entry.replace(b"x.npy", f"{n:05}".encode()) for n in range(50))
    tail = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 50, 50, len(directory), start, 0)
    path.write_bytes(content[:start] + directory + tail)
    with pytest.raises(FormatError, match="the members of the archive overlap"):
        read_all(path)


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    content = member(header("'|u1'", "(1099511627776,)"))
    archive(path, ("x.npy", content + bytes(1000)), compression=zipfile.ZIP_DEFLATED)
    raw = bytearray(path.read_bytes())
    size = struct.pack("<L", len(content) + 1000)
    assert raw.count(size) == 2
    path.write_bytes(bytes(raw).replace(size, struct.pack("<L", 0xFFFFFFF0)))
    with pytest.raises(FormatError, match=r"impossible|damaged"):
        read_all(path)


@pytest.mark.parametrize("change", ["encrypted", "method"])
def test_what_numpy_never_writes_is_refused(tmp_path: Path, change: str) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, x=np.arange(5))
    raw = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        place = raw.index(signature) + offset
        if change == "encrypted":
            raw[place] |= 1
        else:
            raw[place + 2] = 97
    path.write_bytes(raw)
    with pytest.raises(FormatError):
        read_all(path)


def test_a_damaged_name_does_not_hide_an_array(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, weights=np.arange(5))
    content = path.read_bytes()
    place = content.rindex(b"weights")
    path.write_bytes(content[:place] + b"w" + b"E" + content[place + 2 :])
    with pytest.raises(FormatError, match="damaged"), open_npz(path):
        pass


def test_damage_to_the_directory_does_not_hide_the_arrays_behind(tmp_path: Path) -> None:
    # The comment of the first entry swallows the entries of all others, and zipfile does not count.
    path = tmp_path / "a.npz"
    np.savez(path, observations=np.arange(5), weights=np.arange(5))
    content = bytearray(path.read_bytes())
    entry, second = (place for place in range(len(content)) if content[place : place + 4] == b"PK\x01\x02")
    content[entry + 32 : entry + 34] = struct.pack("<H", content.index(b"PK\x05\x06") - second)
    path.write_bytes(content)
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == ["observations.npy"]
    with pytest.raises(FormatError, match="the members of the archive are not all listed"), open_npz(path):
        pass


@pytest.mark.parametrize("name", ["../../escape", "/etc/passwd", "..", "a/../b", "C:\\x", "\x01"])
def test_names_that_lead_elsewhere_are_only_names(tmp_path: Path, name: str) -> None:
    buffer = io.BytesIO()
    np.save(buffer, np.arange(2))
    archive(tmp_path / "a.npz", (f"{name}.npy", buffer.getvalue()))
    before = sorted(tmp_path.rglob("*"))
    assert [array.tolist() for array in read_all(tmp_path / "a.npz").values()] == [[0, 1]]
    assert sorted(tmp_path.rglob("*")) == before


def test_other_files_have_no_names_and_raise_nothing(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("PK")
    (tmp_path / "cut").write_bytes(b"PK\x03\x04" + bytes(50))
    (tmp_path / "empty").touch()
    messages = {"text": "is not an .npz archive", "cut": "truncated", "empty": "is empty", "absent": "is missing"}
    for path in (tmp_path, *(tmp_path / name for name in messages)):
        assert npz_names(path) == frozenset()
        with pytest.raises(FormatError, match=re.escape(messages.get(path.name, "is not a file"))), open_npz(path):
            pass


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    edits=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=4),
    keep=st.one_of(st.just(1.0), st.just(1.0), st.floats(0, 1)),
    compress=st.booleans(),
)
def test_damage_is_noticed(tmp_path: Path, edits: list[tuple[float, int]], keep: float, compress: bool) -> None:
    arrays = {
        "observations": np.arange(40.0).reshape(20, 2),
        "flags": np.arange(20) % 3 == 0,
        "note": np.array(["ab", "c"]),
    }
    write_npz(tmp_path / "a.npz", arrays.items(), compress=compress)
    content = bytearray((tmp_path / "a.npz").read_bytes())
    for place, value in edits:
        content[int(place * len(content))] = value
    (tmp_path / "a.npz").write_bytes(content[: round(keep * len(content))])
    try:
        found = read_all(tmp_path / "a.npz")
    except AssayError:
        return
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        assert found[name].tobytes() == array.tobytes()
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape)


def test_an_archive_that_was_written_to_a_pipe_is_read(tmp_path: Path) -> None:
    class Pipe(io.RawIOBase):
        def __init__(self) -> None:
            self.content = b""

        def writable(self) -> bool:
            return True

        def write(self, content: object) -> int:
            self.content += bytes(content)  # type: ignore[call-overload]
            return len(content)  # type: ignore[arg-type]

    pipe = Pipe()
    np.savez_compressed(pipe, a=np.arange(3), b=np.arange(4))
    (tmp_path / "a.npz").write_bytes(pipe.content)
    assert {name: array.tolist() for name, array in read_all(tmp_path / "a.npz").items()} == {
        "a": [0, 1, 2],
        "b": [0, 1, 2, 3],
    }
