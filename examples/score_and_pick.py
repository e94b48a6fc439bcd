"""Score a folder, pick the best item of each prompt, write a report; run it again to go on."""

import librehps

librehps.score_to(
    "examples/media", "picked.parquet", model="tiny", prompt_from="sidecar", resume=True
)
scores = librehps.read_scores("picked.parquet")
best = librehps.best_of_n(scores, calibrator=librehps.find_calibrator(scores))
print([(pick["prompt"], pick["id"], pick["win_probability"]) for pick in best.records])
librehps.write_report(scores, "picked.html", overwrite=True)
