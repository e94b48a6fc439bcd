"""The prompt template of HPSv3, read from prompt_template.json or the installed package hpsv3."""

import ast
import hashlib
import json
from dataclasses import asdict, dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from string import Formatter

from librehps.errors import CheckpointError
from librehps.models.weight_files import read_json

TEMPLATE_FILE = "prompt_template.json"
PACKAGE, VERSION = "hpsv3", "1.0.0"
SOURCE = "hpsv3/dataset/data_collator_qwen.py"
# Names of two constants in SOURCE, and the format field of INSTRUCTION that the prompt fills.
INSTRUCTION, ENDING, PROMPT_FIELD = "INSTRUCTION", "prompt_with_special_token", "text_prompt"
HINT = (
    f"Run: pip install --no-deps {PACKAGE}=={VERSION}, or write the template to {TEMPLATE_FILE} "
    "in the checkpoint's folder."
)

REWARD, IMAGE_PAD = "<|Reward|>", "<|image_pad|>"
# The chat format of Qwen2-VL: before the image, around the image, and after the user's turn.
TURN = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n"
PICTURE_START, PICTURE_END = "<|vision_start|>", "<|vision_end|>"
ANSWER = "<|im_end|>\n<|im_start|>assistant\n"


@dataclass(frozen=True)
class Template:
    """The texts before the image, between image and prompt, and after the prompt."""

    before_image: str
    after_image: str
    after_prompt: str

    @property
    def digest(self) -> str:
        """64 hex digits, a hash of the three texts."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


def find_template(folder: Path) -> Template:
    """Return the template of the folder's prompt_template.json, else of the installed package.

    Raises CheckpointError if the template is not found or invalid.
    """
    file = folder / TEMPLATE_FILE
    if file.exists():
        return _checked(_from_file(file), file)
    try:
        package = distribution(PACKAGE)
    except PackageNotFoundError:
        raise CheckpointError(
            f"the prompt template of HPSv3 was not found: no {file}, and the package {PACKAGE} "
            "is not installed",
            hint=HINT,
        ) from None
    return _from_package(package)


def _from_file(file: Path) -> Template:
    content = read_json(file)
    names = ("before_image", "after_image", "after_prompt")
    parts = [content.get(name) for name in names]
    texts = [part for part in parts if isinstance(part, str)]
    if len(texts) < len(names):
        raise CheckpointError(f"{file}: expected the texts {', '.join(names)}", hint=HINT)
    return Template(*texts)


def _from_package(package: Distribution) -> Template:
    """Return the template in the package's source, which is parsed and never imported."""
    source = Path(str(package.locate_file(SOURCE)))
    name = f"{source} of {PACKAGE} {package.version}"
    try:
        constants = _constants(ast.parse(source.read_text(encoding="utf-8")))
        instruction = list(Formatter().parse(constants[INSTRUCTION]))
        ending = constants[ENDING]
    except (OSError, ValueError, SyntaxError, KeyError) as error:
        raise CheckpointError(f"{name} does not hold the template: {error}", hint=HINT) from error
    fields = [field for _, field, _, _ in instruction]
    if [field for field in fields if field is not None] != [PROMPT_FIELD]:
        raise CheckpointError(
            f"{name}: expected {INSTRUCTION} with the field {PROMPT_FIELD} once", hint=HINT
        )
    texts = [text for text, _, _, _ in instruction]
    end = fields.index(PROMPT_FIELD) + 1
    template = Template(
        TURN + PICTURE_START,
        PICTURE_END + "".join(texts[:end]),
        "".join(texts[end:]) + ending + ANSWER,
    )
    return _checked(template, source)


def _constants(module: ast.Module) -> dict[str, str]:
    """Return name -> text of the strings that a parsed module assigns at its top level."""
    return {
        target.id: node.value.value
        for node in module.body
        if isinstance(node, ast.Assign)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def _checked(template: Template, source: Path) -> Template:
    texts = asdict(template)
    rewards = {name: text.count(REWARD) for name, text in texts.items()}
    if rewards != {"before_image": 0, "after_image": 0, "after_prompt": 1}:
        raise CheckpointError(
            f"{source}: expected {REWARD} once, after the prompt; found it "
            + ", ".join(f"{count} times in {name}" for name, count in rewards.items()),
            hint=HINT,
        )
    pads = [name for name, text in texts.items() if IMAGE_PAD in text]
    if pads:
        raise CheckpointError(f"{source}: unexpected {IMAGE_PAD} in {', '.join(pads)}", hint=HINT)
    return template
