// Zoom and movement of the picture of who can assume what, by buttons, keys, the wheel with Ctrl, and the mouse.
// On touch and small screens the picture scrolls, and the browser's own zoom works.
(() => {
  "use strict";
  if (!matchMedia("(pointer: fine) and (min-width: 700px)").matches) return;

  const begin = () => {
    const frame = document.querySelector(".graph:not(.zooms)");
    if (!frame) return;
    frame.classList.add("zooms");
    const picture = d3.select(frame.querySelector("svg"));
    const zoom = d3.zoom()
      .scaleExtent([0.5, 6])
      .clickDistance(4)
      .filter((event) => (event.type === "wheel" ? event.ctrlKey || event.metaKey : event.type !== "dblclick" && !event.button))
      .on("zoom", ({ transform }) => picture.select("g").attr("transform", transform));
    picture.call(zoom);
    const acts = {
      "+": () => zoom.scaleBy(picture, 1.3),
      "-": () => zoom.scaleBy(picture, 1 / 1.3),
      "0": () => zoom.transform(picture, d3.zoomIdentity),
    };
    const moves = { ArrowLeft: [60, 0], ArrowRight: [-60, 0], ArrowUp: [0, 60], ArrowDown: [0, -60] };
    frame.addEventListener("keydown", (event) => {
      const act = acts[event.key === "=" ? "+" : event.key];
      const zoomed = d3.zoomTransform(picture.node()).k !== 1;
      if (event.target !== frame || event.ctrlKey || event.metaKey || !(act || (zoomed && moves[event.key]))) return;
      event.preventDefault();
      if (act) act(); else zoom.translateBy(picture, ...moves[event.key]);
    });
    const buttons = document.getElementById("zoom");
    buttons.hidden = false;
    for (const button of buttons.children) button.addEventListener("click", () => acts[button.value]());
  };
  document.addEventListener("htmx:afterSettle", begin);
  begin();
})();
