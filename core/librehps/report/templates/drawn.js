"use strict";
// Every plot, one after another so that the page stays at hand; then the page is ready.

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
