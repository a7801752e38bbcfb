// Charts of the dashboards, their live updates, and PNG files of them.
const dashboard = (live) => {
  "use strict";

  const names = { issued: "issued", refused: "refused", requested: "requested", approved: "approved", high_risk: "high risk",
    requests: "requests", faults: "faults", burn: "times the budget", p50: "50 %", p99: "99 %", saml: "SAML", degraded: "without the database",
    spool: "events in the spool", staleness: "age of the directory (s)", commit: "95 %", waiting: "events that wait", token_age: "95 %",
    trust_policy: "trust policy", caller_policy: "policies of the caller" };
  const colours = {
    light: ["#1f4fb8", "#a1260d", "#7a4d00", "#1b6b3a", "#6b2f8a"], dark: ["#8fb1ff", "#ffb4a3", "#ffd38a", "#8fe0b0", "#dcb0f5"],
  };
  const theme = () => (document.documentElement.dataset.bsTheme === "dark" ? "dark" : "light");
  const whole = [...Array(12).keys()].flatMap((power) => [1, 2, 5].map((each) => each * 10 ** power));
  const plots = new Map();
  let charts = JSON.parse(live.dataset.charts);

  const data = (element) => {
    const found = charts[element.dataset.of], values = element.dataset.series.split(",").map((name) => found[name]);
    element.classList.toggle("nothing", values.every((each) => each.every((value) => value == null)));
    return [found.times, ...values];
  };
  // A canvas does not know `light-dark()`, so an element computes the colour.
  const colour = (token) => {
    const probe = document.createElement("span");
    probe.style.color = `var(${token})`;
    document.body.append(probe);
    const found = getComputedStyle(probe).color;
    probe.remove();
    return found;
  };
  const draw = () => {
    const ink = colour("--soft"), line = colour("--line");
    for (const element of document.querySelectorAll(".chart")) {
      plots.get(element.dataset.chart)?.destroy();
      const series = element.dataset.series.split(",");
      const times = charts[element.dataset.of].times, days = times.at(-1) - times[0] > 172800;
      const clock = (_, splits) => splits.map((at) => new Date(at * 1000).toISOString().slice(days ? 5 : 11, days ? 10 : 16));
      const unit = days ? 86400 : 60; // no two ticks with the same label
      const incrs = (days ? [1, 2, 7, 14, 28] : [1, 2, 5, 10, 15, 30, 60, 120, 240, 360, 720, 1440]).map((each) => each * unit);
      const axis = { stroke: ink, grid: { stroke: line, width: 1 }, ticks: { stroke: line, width: 1 } };
      plots.set(element.dataset.chart, new uPlot({
        width: element.clientWidth, height: 220, tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC"),
        series: [{ label: "UTC" }, ...series.map((name, number) => ({
          label: names[name] ?? name, stroke: colours[theme()][number], width: 2,
          fill: number === 0 ? `${colours[theme()][number]}22` : undefined,
        }))],
        axes: [{ ...axis, values: clock, incrs }, { ...axis, size: 48, ...(element.dataset.of === "record" ? { incrs: whole } : {}) }], scales: { y: { range: (_, low, high) => [Math.min(0, low), Math.max(1, high * 1.1)] } },
      }, data(element), element));
    }
  };
  draw();
  addEventListener("resize", draw);
  document.addEventListener("daypass:theme", () => requestAnimationFrame(draw));

  // The panels as they are now. What has the focus stays as it is until it loses it.
  const refresh = (html) => {
    const fresh = new DOMParser().parseFromString(html, "text/html");
    for (const element of fresh.querySelectorAll("[data-live]")) {
      const shown = document.getElementById(element.id);
      if (shown && !shown.contains(document.activeElement) && !shown.isEqualNode(element)) shown.replaceWith(element);
    }
  };
  // A response has one event, and then the browser reconnects. The end of a response is normal; a long time without an event is a fault.
  let last = Date.now();
  setInterval(() => {
    if (Date.now() - last > 30000 && live.textContent === "Live.") live.textContent = "Not live: the server does not answer. Trying again.";
  }, 1000);
  const source = new EventSource(live.dataset.source);
  source.addEventListener("summary", (event) => {
    const found = JSON.parse(event.data);
    charts = found.charts;
    last = Date.now();
    for (const [chart, plot] of plots) {
      plot.setData(data(document.querySelector(`[data-chart="${chart}"]`)));
    }
    refresh(found.panels);
    live.textContent = "Live.";
  });
  source.addEventListener("error", () => {
    if (source.readyState === EventSource.CLOSED) live.textContent = "Not live any more: reload the page.";
  });

  // The canvas of a chart has no title, no legend and no background.
  const picture = (name) => {
    const plot = plots.get(name), chart = plot.ctx.canvas, scale = chart.width / plot.width;
    const heading = document.getElementById(`chart-${name}`), style = getComputedStyle(heading), small = `13px ${style.fontFamily}`;
    const canvas = document.createElement("canvas"), pen = canvas.getContext("2d");
    const times = plot.data[0], step = times.length > 1 ? times[1] - times[0] : 0;
    const period = [times[0], times.at(-1) + step].map((at) => new Date(at * 1000).toISOString().slice(0, 16).replace("T", " "));
    pen.font = small;
    let x = 12, y = 46;
    const legend = [...plot.series.slice(1).map((each) => each.label), `${period[0]} –`, `${period[1]} UTC`].map((text) => {
      const width = pen.measureText(text).width + 16;
      if (x > 12 && x + width > plot.width) [x, y] = [12, y + 20];
      x += width + 24;
      return [text, x - width - 24, y];
    });
    canvas.width = chart.width;
    canvas.height = chart.height + (y + 10) * scale;
    pen.fillStyle = getComputedStyle(heading.closest(".card")).backgroundColor;
    pen.fillRect(0, 0, canvas.width, canvas.height);
    pen.drawImage(chart, 0, (y + 10) * scale);
    pen.scale(scale, scale);
    pen.fillStyle = style.color;
    pen.font = `600 16px ${style.fontFamily}`;
    pen.fillText(heading.textContent, 12, 22);
    pen.font = small;
    for (const [number, [text, left, base]] of legend.entries()) {
      const line = number < plot.series.length - 1; // the last two are the period
      pen.fillStyle = colours[theme()][number] ?? style.color;
      if (line) pen.fillRect(left, base - 10, 10, 10);
      pen.fillStyle = style.color;
      pen.fillText(text, left + (line ? 16 : 0), base);
    }
    return canvas;
  };
  for (const button of document.querySelectorAll("button[data-png]")) {
    button.hidden = false;
    button.addEventListener("click", () => {
      picture(button.dataset.png).toBlob((blob) => {
        const link = document.createElement("a");
        link.href = URL.createObjectURL(blob);
        link.download = `daypass-${button.dataset.png}.png`;
        link.click();
        URL.revokeObjectURL(link.href);
      });
    });
  }
};

// The page loads the panels after the rest.
const begin = () => {
  const live = document.getElementById("live");
  if (!live) return;
  document.removeEventListener("htmx:afterSwap", begin);
  dashboard(live);
};
document.addEventListener("htmx:afterSwap", begin);
begin();
