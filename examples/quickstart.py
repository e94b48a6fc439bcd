"""Score, compare and pick, on the pictures beside this file.

python examples/quickstart.py [MODEL]
"""

import sys
from pathlib import Path

from librehps import BatchItem, LibreHPS

MEDIA = Path(__file__).parent / "media"
PROMPT = "a red circle left of a blue square"

model = LibreHPS.from_pretrained(sys.argv[1] if len(sys.argv) > 1 else "tiny")

score = model.score_image(image=MEDIA / "match.png", prompt=PROMPT)
print(f"match.png: overall {score.overall.mean:.3f}, alignment {score['alignment'].mean:.3f}")

pair = model.compare_images(
    image_a=MEDIA / "match.png",
    image_b=MEDIA / "torn.png",
    prompt=PROMPT,
    calibrator=model.calibrator(),
)
print(f"match.png against torn.png: {pair.winner} wins, P(a wins) = {pair.probability:.2f}")

stills = sorted(MEDIA.glob("*.png"))
scores = model.score_images_batch([BatchItem(path, PROMPT) for path in stills])
best = max(zip(scores, stills, strict=True), key=lambda pair: pair[0].overall.raw_mean)
print(f"best of {len(stills)}: {best[1].name}")

clip = model.score_video(video=MEDIA / "steady.mp4", prompt="a green star above a yellow cross")
print(f"steady.mp4: temporal {clip['temporal'].mean:.3f} over frames {clip.frames}")
