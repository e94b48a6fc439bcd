"""The adapters of examples/adapters, called as each trainer calls them, against a real server.

Each caller is written anew from the trainer's protocol: how it finds a reward, what it passes, by
name or position, and what it does with the answer.
"""

import ast
import importlib.util
import inspect
import io
import json
import os
import pickle
import subprocess
import sys
import threading
import types
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from conftest import EXAMPLES
from librehps import Item, LibreHPS
from librehps.media.images import load_pixels
from librehps.rewards import RewardClient, ddpo_reward
from serve_client import Server

ADAPTERS = EXAMPLES / "adapters"
PROMPT = "a red circle left of a blue square"
STILLS = [EXAMPLES / "media" / f"{name}.png" for name in ("match", "torn", "swapped", "blurred")]
TOKEN = "a-token-that-only-the-parent-has"  # noqa: S105 - of this test
BOUND = 2e-3
MAX_LINES = 20


@pytest.fixture(scope="module")
def token_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("secret") / "token"
    file.write_text(TOKEN)
    file.chmod(0o600)
    return file


@pytest.fixture(scope="module")
def url(token_file: Path) -> Iterator[str]:
    server = Server.start("--token-file", token_file)
    yield f"http://127.0.0.1:{server.port}"
    assert server.stop() == 0


@pytest.fixture(scope="module")
def mus(tiny: LibreHPS) -> list[float]:
    return [tiny.score_image(path, PROMPT).overall.raw_mean for path in STILLS]


@pytest.fixture
def adapter(url: str, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Loads an adapter from its file, with stand-ins for the trainer's own modules."""
    monkeypatch.setenv("LIBREHPS_URL", url)
    monkeypatch.setenv("LIBREHPS_TOKEN", TOKEN)

    def load(name: str, **modules: dict[str, Any]) -> Any:
        for dotted, members in modules.items():
            parts = dotted.split("__")
            for end in range(1, len(parts) + 1):
                module = types.ModuleType(".".join(parts[:end]))
                vars(module).update(members if end == len(parts) else {"__path__": []})
                monkeypatch.setitem(sys.modules, module.__name__, module)
        return loaded(ADAPTERS / f"{name}.py")

    return load


@contextmanager
def running(server: ThreadingHTTPServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def loaded(file: Path) -> Any:
    spec = importlib.util.spec_from_file_location(f"copied_{file.stem}", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def floats() -> torch.Tensor:
    return torch.stack([load_pixels(path) for path in STILLS]).float() / 255


def test_the_client_reads_the_shapes_that_the_rewards_read(url: str, mus: list[float]) -> None:
    pixels = load_pixels(STILLS[0])
    ways = [pixels[None], pixels.permute(1, 2, 0), pixels.numpy(), [STILLS[0]], torch.zeros(7)]
    client = RewardClient(url, TOKEN)
    rows = client.rows([Item(str(at), way, PROMPT) for at, way in enumerate(ways)])
    assert [row.get("overall_mu") for row in rows[:4]] == pytest.approx(mus[:1] * 4, abs=BOUND)
    assert "shape (7,)" in rows[4]["error"]


def code_lines(file: Path) -> int:
    """Lines of code, without imports, docstrings, comments and blank lines."""
    tree = ast.parse(file.read_text())
    lines: set[int] = set()
    for node in tree.body:
        is_text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if not is_text and not isinstance(node, ast.Import | ast.ImportFrom):
            lines.update(range(node.lineno, node.end_lineno + 1))
    text = file.read_text().splitlines()
    return sum(bool(text[at - 1].strip()) and text[at - 1].strip()[0] != "#" for at in lines)


def test_adapters_are_short_enough_to_copy() -> None:
    files = sorted(ADAPTERS.glob("*_reward.py"))
    assert len(files) == 5
    assert {file.name: code_lines(file) for file in files if code_lines(file) > MAX_LINES} == {}


def test_flow_grpo_finds_the_reward_in_its_registry(
    adapter: Callable[..., Any], mus: list[float]
) -> None:
    registry = {"librehps": adapter("flow_grpo_reward").librehps_score}
    wanted, functions = {"librehps": 2.0}, {}
    for name in wanted:
        takes_device = "device" in registry[name].__code__.co_varnames
        device = torch.device("cpu")
        functions[name] = registry[name](device) if takes_device else registry[name]()
        assert takes_device

    def call(images: torch.Tensor) -> list[float]:
        scores, _ = functions["librehps"](images, (PROMPT,) * len(images), ({},) * len(images))
        weighted = [wanted["librehps"] * score for score in scores]
        return torch.as_tensor(weighted, device=images.device).float().tolist()

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(call, [floats()] * 16))
    assert found == [pytest.approx([2 * mu for mu in mus], abs=2 * BOUND)] * 16
    assert len(call(torch.rand(2, 5, 3, 64, 64))) == 2


def test_ms_swift_passes_completions_by_position(
    adapter: Callable[..., Any], tiny: LibreHPS
) -> None:
    class ORM:
        def __init__(self, args: Any = None, **_: Any) -> None:
            self.args = args

    orms: dict[str, Any] = {}
    adapter("ms_swift_reward", swift__rewards={"ORM": ORM, "orms": orms})
    arguments = types.SimpleNamespace(seed=1)
    names = inspect.signature(orms["librehps"].__init__).parameters
    given = {n: getattr(arguments, n) for n in names if hasattr(arguments, n) and n != "self"}
    reward = orms["librehps"](args=arguments, **given)
    said = ["red", "blue", "no colour"]
    rows = [
        {
            "messages": [
                {"role": "user", "content": PROMPT},
                {"role": "assistant", "content": completion},
            ],
            "solution": "x",
            "finish_reason": "stop",
            "is_truncated": False,
            "rollout_infos": {},
        }
        for completion in said
    ]
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    found = reward(said, trainer_state=None, **columns)
    pictures = [Image.new("RGB", (128, 128), colour) for colour in said[:2]]
    wanted = [tiny.score_image(one, PROMPT).overall.raw_mean for one in pictures]
    assert found == pytest.approx([*wanted, -10.0], abs=BOUND)


def test_verl_omni_calls_once_a_sample_from_many_threads(
    adapter: Callable[..., Any], tiny: LibreHPS, mus: list[float]
) -> None:
    function = adapter("verl_omni_reward").compute_score
    assert not inspect.iscoroutinefunction(function)
    # Options of the configuration are merged into each call.
    configured = partial(lambda f, more, **given: f(**{**given, **more}), function, {"margin": 1})

    def call(image: torch.Tensor) -> dict[str, float]:
        return configured(
            data_source="set",
            solution_image=image,
            ground_truth=PROMPT,
            extra_info={"num_turns": None, "rollout_reward_scores": {}},
        )

    images = [load_pixels(path) for path in STILLS]
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(call, images * 16))
    assert [one["score"] for one in found] == pytest.approx(mus * 16, abs=BOUND)
    assert all(one["scored"] == 1 for one in found)
    clip = torch.randint(0, 256, (3, 5, 64, 64), dtype=torch.uint8)
    ways = [clip, clip.transpose(0, 1), clip.permute(1, 2, 3, 0)]
    wanted = tiny.score_video(clip.transpose(0, 1), PROMPT).overall.raw_mean
    assert [call(way)["score"] for way in ways] == pytest.approx([wanted] * 3, abs=BOUND)
    assert call(torch.zeros(7, dtype=torch.uint8)) == {"score": -10.0, "scored": 0.0}


def test_flow_factory_builds_and_calls_its_reward_model(
    adapter: Callable[..., Any], mus: list[float]
) -> None:
    class Base:
        def __init__(self, config: Any, accelerator: Any) -> None:
            self.config, self.device = config, accelerator.device

    class Output:
        def __init__(self, rewards: Any, extra_info: Any = None) -> None:
            self.rewards, self.extra_info = rewards, extra_info

    members = {"PointwiseRewardModel": Base, "RewardModelOutput": Output}
    module = adapter("flow_factory_reward", flow_factory__rewards__abc=members)
    accelerator = types.SimpleNamespace(device=torch.device("cpu"))
    model = module.LibreHPSReward(types.SimpleNamespace(batch_size=16), accelerator)
    assert model.use_tensor_inputs
    sample = {"prompt": [PROMPT] * 4, "image": [*floats()], "seed": [1] * 4}
    taken = inspect.signature(model.__call__).parameters
    output = model(**{name: value for name, value in sample.items() if name in taken})
    assert output.rewards.tolist() == pytest.approx(mus, abs=BOUND)
    clips = model(prompt=[PROMPT] * 2, video=[*torch.rand(2, 5, 3, 64, 64)])
    assert torch.as_tensor(clips.rewards).isfinite().all()


def test_a_loop_like_dancegrpo_scores_one_at_a_time(
    adapter: Callable[..., Any], mus: list[float]
) -> None:
    score = adapter("dance_grpo_reward").librehps_reward
    rewards = [score([Image.open(path)], [PROMPT], torch.device("cpu")) for path in STILLS]
    together = torch.cat(rewards, dim=0).to(torch.float32)
    assert together.tolist() == pytest.approx(mus, abs=BOUND)
    assert score([EXAMPLES / "media" / "steady.mp4"], [PROMPT]).shape == (1,)


@pytest.fixture(scope="module")
def gateway(url: str, token_file: Path) -> Iterator[str]:
    module = loaded(ADAPTERS / "pickle_gateway.py")
    options = ["--unsafe-pickle", "--server", url, "--port", "0", "--max-body-mb", "2"]
    server = module.gateway(module.parse([*options, "--token-file", str(token_file)]))
    with running(server):
        yield f"http://127.0.0.1:{server.server_port}/"


def post(address: str, body: bytes, **headers: str) -> tuple[int, Any]:
    """The status of an answer, and its pickle, which these clients trust."""
    request = urllib.request.Request(address, body, headers)  # noqa: S310 - our own server
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
            return answer.status, pickle.loads(answer.read())  # noqa: S301 - our own server's
    except urllib.error.HTTPError as error:
        return error.code, pickle.loads(error.read())  # noqa: S301


def jpegs() -> list[bytes]:
    def encoded(path: Path) -> bytes:
        file = io.BytesIO()
        Image.open(path).convert("RGB").save(file, "JPEG")
        return file.getvalue()

    return [encoded(path) for path in STILLS]


@pytest.mark.parametrize("protocol", [0, 4, 5])
def test_clients_of_three_protocols_get_their_pickles(
    gateway: str, tiny: LibreHPS, protocol: int
) -> None:
    images, prompts = jpegs(), [PROMPT] * 4
    wanted = pytest.approx(
        [tiny.score_image(i, PROMPT).overall.raw_mean for i in images], abs=BOUND
    )
    asked = {"images": images, "prompts": np.array(prompts)}
    status, answer = post(gateway, pickle.dumps(asked, protocol))
    assert (status, answer["outputs"]) == (200, wanted)
    asked = {"images": images[:1], "prompts": prompts[:1], "metadata": {"a": np.float32(1)}}
    assert post(gateway, pickle.dumps(asked, protocol))[1]["scores"] == pytest.approx(
        answer["outputs"][:1], abs=BOUND
    )
    asked = {
        "images": images,
        "queries": [["what is this?"]] * 4,
        "answers": [[f"The image contains {prompt}"] for prompt in prompts],
    }
    status, answer = post(gateway, pickle.dumps(asked, protocol))
    assert np.array(answer["recall"]).squeeze().tolist() == wanted
    assert {np.array(answer[name]).squeeze().shape for name in answer} == {(4,)}
    pixels = [np.asarray(Image.open(path).convert("RGB")) for path in STILLS[:1]]
    asked = {"images": pixels, "prompts": prompts[:1]}
    exact = tiny.score_image(STILLS[0], PROMPT).overall.raw_mean
    assert post(gateway, pickle.dumps(asked, protocol))[1]["outputs"] == pytest.approx(
        [exact], abs=BOUND
    )


class Evil:
    def __init__(self, function: Any, *arguments: Any) -> None:
        self.reduced = function, arguments

    def __reduce__(self) -> Any:
        return self.reduced


def test_a_pickle_that_is_a_program_does_not_run(gateway: str, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    programs = [
        Evil(os.system, f"touch {mark}"),
        Evil(eval, f"open({str(mark)!r}, 'w')"),
        Evil(subprocess.check_call, ["touch", str(mark)]),
        Evil(getattr, "", "join"),
        Evil(importlib.import_module, "os"),
    ]
    for program in programs:
        for body in ({"images": [b""], "prompts": [program]}, program, [program]):
            status, answer = post(gateway, pickle.dumps(body))
            assert status == 400
            assert "is not allowed in a request" in answer["error"]
    assert not mark.exists()


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (b"", 400, "EOFError"),
        (b"junk", 400, "Error"),
        (pickle.dumps([1]), 400, "expected a dict with images"),
        (pickle.dumps({"images": [b"x"]}), 400, "no prompts"),
        (pickle.dumps({"images": [b"x"], "prompts": "ab"}), 400, "expected a list, got str"),
        (pickle.dumps({"images": [7], "prompts": ["a"]}), 400, "encoded bytes"),
        (pickle.dumps({"images": [b"x"], "prompts": [3]}), 400, "expected texts"),
        (pickle.dumps({"images": [b"x"], "prompts": ["a", "b"]}), 400, "different lengths"),
        (pickle.dumps({"images": [b"x"], "prompts": ["a"]}), 400, "cannot be scored"),
        (pickle.dumps({"images": [b"x" * 900_000] * 99, "prompts": ["a"] * 99}), 400, "too large"),
        (b"x" * (3 << 20), 413, "--max-body-mb"),
        # A list in a list, a million deep.
        (b"]" * 1_000_000 + b"a" * 999_999 + b".", 400, ""),
    ],
    ids=[
        *("empty", "junk", "list", "no-prompts", "text", "number", "prompt", "lengths", "broken"),
        *("bomb", "large", "deep"),
    ],
)
def test_bad_pickles_are_refused(gateway: str, body: bytes, status: int, said: str) -> None:
    found, answer = post(gateway, body)
    assert found == status
    assert said in answer["error"]


def test_browsers_are_refused(gateway: str) -> None:
    assert post(gateway, b"", Origin="http://elsewhere.example")[0] == 403


def test_a_server_that_is_away_is_worth_another_try() -> None:
    module = loaded(ADAPTERS / "pickle_gateway.py")
    options = ["--unsafe-pickle", "--server", "http://127.0.0.1:9", "--port", "0"]
    server = module.gateway(module.parse(options))
    server.reward = ddpo_reward(RewardClient("http://127.0.0.1:9", retries=0))()
    with running(server):
        body = pickle.dumps({"images": jpegs()[:1], "prompts": [PROMPT]})
        assert post(f"http://127.0.0.1:{server.server_port}/", body)[0] == 500


def test_requests_in_memory_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    module = loaded(ADAPTERS / "pickle_gateway.py")
    monkeypatch.setattr(module, "READ_TIMEOUT_S", 0)
    server = module.gateway(module.parse(["--unsafe-pickle", "--port", "0", "--max-body-mb", "1"]))
    address = f"http://127.0.0.1:{server.server_port}/"
    with running(server):
        with server.holding(module.HELD_REQUESTS << 20):
            status, answer = post(address, b"x" * 1000)
        assert (status, "try again" in answer["error"]) == (500, True)
        assert server.held_bytes == 0


# In place of the reader: says what of its parent it was given.
SPY = """
import json, os, struct, sys
open_now = {name for name in os.listdir("/proc/self/fd") if int(name) > 2}
found = {"environment": sorted(set(os.environ) - {"LC_CTYPE"}), "more descriptors": len(open_now)}
text = json.dumps({"error": json.dumps(found)}).encode()
sys.stdout.buffer.write(struct.pack("<Q", len(text)) + text)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="of Linux")
def test_the_reader_inherits_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = loaded(ADAPTERS / "pickle_gateway.py")
    spy = tmp_path / "spy.py"
    spy.write_text(SPY)
    monkeypatch.setattr(module, "READER", spy)
    monkeypatch.setenv("LIBREHPS_TOKEN", TOKEN)
    with (tmp_path / "secret").open("w") as secret:
        os.set_inheritable(secret.fileno(), True)
        with pytest.raises(module.RefusedError) as found:
            module.read_request(b"")
    # The one descriptor is that of the listing.
    assert json.loads(str(found.value)) == {"environment": [], "more descriptors": 1}


def test_an_image_without_a_score_gets_the_reward_that_was_chosen(
    url: str, token_file: Path
) -> None:
    module = loaded(ADAPTERS / "pickle_gateway.py")
    options = ["--unsafe-pickle", "--server", url, "--port", "0", "--unscored", "-5"]
    server = module.gateway(module.parse([*options, "--token-file", str(token_file)]))
    with running(server):
        body = pickle.dumps({"images": [b"broken", jpegs()[0]], "prompts": [PROMPT] * 2})
        status, answer = post(f"http://127.0.0.1:{server.server_port}/", body)
    assert status == 200
    assert answer["outputs"][0] == -5.0
    assert answer["outputs"][1] > -5.0


def test_the_gateway_is_off_until_it_is_called_unsafe(capsys: pytest.CaptureFixture[str]) -> None:
    module = loaded(ADAPTERS / "pickle_gateway.py")
    with pytest.raises(SystemExit):
        module.parse([])
    assert "--unsafe-pickle" in capsys.readouterr().err
    assert module.parse(["--unsafe-pickle"]).host == "127.0.0.1"
    assert "loads" not in (ADAPTERS / "pickle_gateway.py").read_text().replace("json.loads", "")


# What code would find that broke out of the unpickler: nothing to read, to start or to call.
BROKEN_OUT = """
import ctypes, os, socket, sys
sys.path.insert(0, {folder!r})
import pickle_reader
pickle_reader.confine(1 << 29)
def attempt(what):
    try:
        return what()
    except (OSError, MemoryError) as error:
        return type(error).__name__
print(attempt(lambda: open("/etc/passwd").read()))
print(attempt(lambda: open(f"/proc/{{os.getppid()}}/environ", "rb").read()))
print(attempt(lambda: socket.create_connection(("127.0.0.1", {port}), 5)))
print(attempt(os.fork))
print(attempt(lambda: os.system("true")) != 0)
print(attempt(lambda: len(bytearray(1 << 30))))
print(sorted(set(os.environ) - {{"LC_CTYPE"}}))
print({token!r} in repr(os.environ), os.geteuid() != 0)
print(not {is_root} or attempt(lambda: os.truncate({victim!r}, 0)))
"""
# Root in most containers: without CAP_SYS_ADMIN (21), which PR_CAPBSET_DROP (24) takes away.
AS_IN_CONTAINER = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(24, 21, 0, 0, 0)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="of Linux")
@pytest.mark.parametrize("in_container", [False, True])
def test_the_process_that_reads_pickles_can_do_nothing_else(
    url: str, in_container: bool, tmp_path: Path
) -> None:
    victim = tmp_path / "file"
    victim.write_text("content")
    is_root = os.geteuid() == 0
    code = BROKEN_OUT.format(
        folder=str(ADAPTERS),
        port=url.rsplit(":", 1)[1],
        token=TOKEN,
        victim=str(victim),
        is_root=is_root,
    )
    command = ["-I", "-S", "-B", "-c", code]
    before = ["-c", AS_IN_CONTAINER] if in_container else []
    done = subprocess.run(
        [sys.executable, *before, *command],
        env={},
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
        close_fds=True,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line for line in lines[:4] if "Error" not in line] == []
    is_kept = "PermissionError" if is_root else "True"
    assert lines[4:] == ["True", "MemoryError", "[]", "False True", is_kept]
    assert victim.read_text() == "content"
