// The plots of a feature, all with one look, drawn again when light turns to dark.
(() => {
  "use strict";
  const HEIGHT = 190;

  const TITLES = { bins: "Distribution", top: "Commonest values", nulls: "Share of nulls over time", mean: "Mean over time" };

  {
    const { make } = featurelayer;
    const data = JSON.parse(document.getElementById("chart").textContent);
    // As it is written it is short: shares in ten thousandths, times as hours since the one before.
    const shares = (values) => values?.map((value) => (value === null ? null : value / 10000));
    if (data.bins) data.bins = { ...data.bins, now: shares(data.bins.now), before: shares(data.bins.before) };
    data.top = data.top?.map(([text, share]) => [text, share / 10000]);
    data.nulls = shares(data.nulls);
    let hour = 0;
    data.times = data.times?.map((hours) => (hour += hours) * 3600);
    for (const name of Object.keys(TITLES).filter((each) => data[each])) {
      const figure = make("figure", { className: "plot" }, make("figcaption", { textContent: TITLES[name] }), make("div"));
      figure.dataset.plot = name;
      document.querySelector(".plots").append(figure);
    }
    const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
    const short = (value) => (value === null ? "" : Number(value.toPrecision(3)).toLocaleString("en", { notation: Math.abs(value) >= 1e5 ? "compact" : "standard", maximumFractionDigits: 4 }));
    const percent = (value) => (value === null ? "" : `${Number((value * 100).toPrecision(3))}%`);

    const axis = (values) => ({
      stroke: colour("--muted"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false },
      font: "12px system-ui", size: 52, values: (_plot, ticks) => ticks.map(values),
    });
    const draw = (figure, series, x, options) => {
      const place = figure.querySelector("div");
      place.replaceChildren();
      const width = Math.max(place.clientWidth, 240);
      new uPlot({
        width, height: HEIGHT, legend: { show: false }, cursor: { show: false }, padding: [8, 12, 0, 0],
        ...options,
      }, [x, ...series], place);
      place.setAttribute("role", "img");
      place.setAttribute("aria-label", `${figure.querySelector("figcaption").textContent}. The numbers are in the table below.`);
    };

    const drawers = {
      bins(figure) {
        // Bins differ in width, so that what is drawn is how dense the values are; thin tails are cut off.
        const { edges, now, before } = data.bins;
        const kept = now.map((_share, place) => place).filter((place) => edges[place + 1] > edges[place]);
        const thin = (place) => Math.max(now[place], before?.[place] ?? 0) < 0.01;
        while (kept.length > 3 && thin(kept.at(-1))) kept.pop();
        while (kept.length > 3 && thin(kept[0])) kept.shift();
        if (!kept.length) return figure.remove();
        const x = [...kept.map((place) => edges[place]), edges[kept.at(-1) + 1]];
        // The outermost bins reach to the most extreme values, and would leave no room for the others.
        const room = ((x.at(-2) - x[1]) || x.at(-1) - x[0]) / 4;
        const [left, right] = [Math.max(x[0], x[1] - room), Math.min(x.at(-1), x.at(-2) + room)];
        const density = (shares) => {
          const values = kept.map((place) => shares[place] / (edges[place + 1] - edges[place]));
          return [...values, values.at(-1)];
        };
        const paths = uPlot.paths.stepped({ align: 1 });
        const series = [{}, { fill: colour("--plot-fill"), stroke: colour("--plot"), width: 1.5, paths, points: { show: false } }];
        if (before) series.push({ stroke: colour("--plot2"), width: 2, paths, points: { show: false } });
        draw(figure, before ? [density(now), density(before)] : [density(now)], x, {
          padding: [8, 16, 0, 16],
          scales: { x: { time: false, range: () => [left, right] }, y: { range: (_plot, _low, high) => [0, (high || 1) * 1.08] } },
          series,
          axes: [{ ...axis(short), size: 28, grid: { show: false } }, { show: false }],
        });
        if (before && !figure.querySelector(".key")) {
          figure.append(make("p", { className: "key" }, make("span", { className: "now", textContent: "newest period" }), make("span", { className: "before", textContent: "baseline" })));
        }
      },
      top(figure) {
        const most = Math.max(...data.top.map(([, share]) => share), 1e-9);
        const rows = data.top.map(([text, share]) => make("tr", {}, make("th", { scope: "row", textContent: text }),
          make("td", {}, make("meter", { value: share / most, ariaHidden: "true" })), make("td", { className: "num", textContent: percent(share) })));
        figure.querySelector("div").replaceChildren(make("table", { className: "bars" }, make("tbody", {}, ...rows)));
      },
      nulls(figure) {
        line(figure, data.nulls, percent, (_plot, _low, high) => [0, Math.max(high * 1.15, 0.01)]);
      },
      mean(figure) {
        line(figure, data.mean, short, (_plot, low, high) => {
          const room = (high - low || Math.abs(high) || 1) * 0.15;
          return [low - room, high + room];
        });
      },
    };
    const span = data.times ? data.times.at(-1) - data.times[0] : 0;
    const [start, end] = span > 400 * 86400 ? [0, 7] : span > 3 * 86400 ? [5, 10] : [11, 16];
    const day = (seconds) => new Date(seconds * 1000).toISOString().slice(start, end);
    const line = (figure, values, format, range) => draw(figure, [values], data.times, {
      scales: { x: { time: true }, y: { range } },
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC"),
      series: [{}, { stroke: colour("--plot"), width: 2, points: { show: true, size: 6, fill: colour("--plot") } }],
      axes: [{ stroke: colour("--muted"), grid: { show: false }, ticks: { show: false }, font: "12px system-ui", size: 28, values: (_plot, ticks) => ticks.map(day) }, axis(format)],
    });

    /** The same as numbers, for who can't see the plots or wants to copy them. */
    const numbers = () => {
      const table = (title, headings, rows) => make("table", {}, make("caption", { textContent: title }),
        make("thead", {}, make("tr", {}, ...headings.map((name) => make("th", { scope: "col", textContent: name })))),
        make("tbody", {}, ...rows.map((row) => make("tr", {}, ...row.map((text) => make("td", { textContent: text }))))));
      const tables = [];
      if (data.bins) {
        const { edges, now, before } = data.bins;
        tables.push(table("Distribution", ["Values", "Newest period", ...(before ? ["Baseline"] : [])], now.map((share, place) =>
          [`${short(edges[place])} to ${short(edges[place + 1])}`, percent(share), ...(before ? [percent(before[place])] : [])])));
      }
      if (data.times) {
        tables.push(table("Over time", ["Up to", "Nulls", ...(data.mean ? ["Mean"] : [])], data.times.map((time, place) =>
          [new Date(time * 1000).toISOString().slice(0, 16).replace("T", " "), percent(data.nulls[place]), ...(data.mean ? [short(data.mean[place])] : [])])));
      }
      if (!tables.length) return;
      const details = make("details", {}, make("summary", { textContent: "The numbers" }), make("div", { className: "columns" }, ...tables));
      document.querySelector(".plots").after(details);
    };

    const all = () => {
      for (const figure of document.querySelectorAll("figure.plot")) drawers[figure.dataset.plot](figure);
    };
    all();
    numbers();
    addEventListener("theme", all);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", all);
    let waiting = null;
    let width = innerWidth;
    addEventListener("resize", () => {
      if (innerWidth === width) return;
      width = innerWidth;
      clearTimeout(waiting);
      waiting = setTimeout(all, 150);
    });
  }
})();
