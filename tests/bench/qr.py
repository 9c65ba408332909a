"""QR by camera (issue 5): how many codes are read and what it costs, beside the engines alone, and what a camera that
sees nobody costs.
"""

import asyncio
import contextlib
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from multiprocessing.connection import Connection

import cv2

from drivers import registry
from drivers.contract import CodeReport
from drivers.scanners.camera.decode import ZBAR_EVERY_ROUNDS, Decoder
from drivers.scanners.camera.passes import PASSES
from drivers.scanners.camera.process import shared_process
from tests.bench.figures import Figure, quantile
from tests.support.engines import ENGINES
from tests.support.pictures import COLOURS, CONDITIONS, Frame, coloured, idle, photographs
from tests.support.stream_camera import StreamCamera

ROUNDS = 5  # over the photographs; a picture's cost is the median of them, so that a busy neighbour does not count
CODES = 6  # of each colour in each condition
IDLE_FRAMES = 10
CAMERAS, FPS = 16, 15.0  # issue 5
WATCHED_S = 10.0
START_S = 60.0  # until all cameras give frames

Read = Callable[[Frame], bytes | None]


def measure() -> list[Figure]:
    """All figures; OpenCV with one thread, as in the camera process."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        return [*_photographs(), *_coloured(), *_idle(), *asyncio.run(_cameras())]
    finally:
        cv2.setNumThreads(threads)


def _readers() -> Mapping[str, Read]:
    decoder = Decoder(fallback=True)

    def ours(frame: Frame) -> bytes | None:
        code = decoder.decode_thoroughly(frame)
        return code.payload if code else None

    return {"ours": ours, **ENGINES}


def _beside(name: str, values: Mapping[str, float], unit: str, n: int, note: str) -> Iterator[Figure]:
    """Ours beside each engine; under the plain name beside the best of them."""
    ours, digits = values["ours"], 4
    for peer in ENGINES:
        named = name if peer == "zxing-cpp" else f"{name}_beside_{peer}"
        value, theirs = round(ours, digits), round(values[peer], digits)
        yield Figure.beside(named, value, unit, n, peer=peer, peer_value=theirs, note=note)


def _photographs() -> Iterator[Figure]:
    pictures = list(photographs())
    spent: dict[str, list[float]] = {}
    read: dict[str, float] = {}
    for name, reader in _readers().items():
        read[name] = sum(reader(picture) in payloads for picture, payloads in pictures) / len(pictures)
    costs: dict[str, list[list[float]]] = {name: [] for name in _readers()}
    for _ in range(ROUNDS):  # in turn, so that all meet the same neighbours
        for name, reader in _readers().items():
            costs[name].append([_ms(reader, picture) for picture, _ in pictures])
    for name, rounds in costs.items():
        spent[name] = [statistics.median(of_one) for of_one in zip(*rounds, strict=True)]
    n, note = len(pictures), "zxing's photographs in four rotations, each alone with every pass"
    yield from _beside("qr_read_rate", read, "", n, note)
    for q in (50, 95):
        yield from _beside(
            f"qr_p{q}_ms", {name: quantile(all_ms, q / 100) for name, all_ms in spent.items()}, "ms", n, note
        )


def _coloured() -> Iterator[Figure]:
    readers = _readers()
    read, black = dict.fromkeys(readers, 0.0), 0
    black_is_read = False
    for _, colour, text, frame in coloured(CODES):
        if colour == "black":
            black_is_read = readers["ours"](frame) == text
            black += black_is_read
        elif black_is_read:
            for name, reader in readers.items():
                read[name] += reader(frame) == text
    n = black * len(COLOURS)
    note = f"of what is read in black ({black} of {CODES * len(CONDITIONS)}): {len(COLOURS)} colours, dim to small"
    yield from _beside("qr_coloured_read_rate", {name: count / n for name, count in read.items()}, "", n, note)


def _idle() -> Iterator[Figure]:
    """CPU of a 640 x 480 frame with no code: zxing, and the pass whose turn it is, over whole rotations."""
    frames, turns = idle(IDLE_FRAMES), 4 * (len(PASSES) * ZBAR_EVERY_ROUNDS + 1)
    shown = [frames[number % IDLE_FRAMES] for number in range(turns)]
    decoder = Decoder(fallback=True)
    readers: Mapping[str, Callable[[Frame], object]] = {"ours": decoder.decode, **ENGINES}
    costs = {name: _mean_cpu_ms(reader, shown) for name, reader in readers.items()}
    yield from _beside("qr_idle_frame_ms", costs, "ms", turns, "640 x 480, mean CPU over the rotation of passes")
    carried = int(1000 / FPS / costs["ours"])
    yield Figure("qr_idle_cameras_per_core", carried, "", turns, f"computed: {FPS:g} frames a second, decoding alone")


def _mean_cpu_ms(reader: Callable[[Frame], object], frames: Sequence[Frame]) -> float:
    reader(frames[0])
    started_s = time.process_time()
    for frame in frames:
        reader(frame)
    return (time.process_time() - started_s) * 1000 / len(frames)


def _ms(reader: Read, frame: Frame) -> float:
    started_ns = time.perf_counter_ns()
    reader(frame)
    return (time.perf_counter_ns() - started_ns) / 1e6


async def _cameras() -> list[Figure]:
    """The camera process itself, held to one core, with streams of an idle hall from another process."""
    context = multiprocessing.get_context("spawn")
    near, far = context.Pipe()
    server = context.Process(target=_serve, args=(far,), daemon=True)
    server.start()
    url = await asyncio.to_thread(near.recv)
    info = registry.driver("camera-scanner")
    settings = registry.check_settings(info, {"source": url, "fps": FPS})
    devices = [registry.create("camera-scanner", settings) for _ in range(CAMERAS)]
    up: set[int] = set()

    def hear(number: int, report: object) -> None:
        assert not isinstance(report, CodeReport), "there is no code in an idle hall"
        up.add(number)

    running = [
        asyncio.create_task(device.run(lambda report, number=number: hear(number, report)))
        for number, device in enumerate(devices)
    ]
    try:
        return await _watch(devices, up)
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        server.kill()
        server.join()


async def _watch(devices: Sequence[object], up: set[int]) -> list[Figure]:
    async with asyncio.timeout(START_S):
        while len(up) < len(devices):
            await asyncio.sleep(0.1)
    pid = shared_process().pid
    assert pid
    for task in os.listdir(f"/proc/{pid}/task"):
        with contextlib.suppress(ProcessLookupError):
            os.sched_setaffinity(int(task), {max(os.sched_getaffinity(0))})
    await asyncio.sleep(2)  # what starting cost is over
    before_s, before = _cpu_s(pid), _skipped(devices)
    started_s = time.monotonic()
    await asyncio.sleep(WATCHED_S)
    passed_s = time.monotonic() - started_s
    core, skipped = (_cpu_s(pid) - before_s) / passed_s, _skipped(devices) - before
    shown = int(passed_s * FPS * len(devices))
    note = f"{len(devices)} idle MJPEG streams of 640 x 480 at {FPS:g} a second on one core, unpacking them included"
    return [
        Figure("qr_idle_cameras_core_pct", round(100 * core, 1), "%", shown, note),
        Figure("qr_idle_cameras_skipped_pct", round(100 * skipped / shown, 2), "%", shown, note),
    ]


def _skipped(devices: Sequence[object]) -> int:
    return sum(getattr(device, "frames_skipped", 0) for device in devices)


def _cpu_s(pid: int) -> float:
    """User and system time of a process (proc(5), fields 14 and 15)."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _serve(far: Connection) -> None:
    async def serve() -> None:
        camera = StreamCamera(FPS)
        camera.show_frames(idle(IDLE_FRAMES, noise=2.0))
        await camera.plug()
        far.send(camera.url)
        await asyncio.Event().wait()

    asyncio.run(serve())
