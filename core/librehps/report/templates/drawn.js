"use strict";
// Draws the plots one by one, so that the page stays responsive, then marks the page as ready.

async function drawAll(draws) {
  for (const draw of draws) {
    await draw();
    await new Promise((done) => setTimeout(done));
  }
}

(async () => {
  const draws = [...startHistograms(), startScatter(), ...startAgreement()];
  await drawAll(draws);
  themed.push(() => drawAll(draws));
  root.dataset.ready = String(Math.round(performance.now()));
})();
