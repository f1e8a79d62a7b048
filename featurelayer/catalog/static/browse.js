// The list of all features: text and facets narrow it, and the address remembers both.
(() => {
  "use strict";
  const SHOWN = 100;
  const SHORT = 8;
  const FACETS = {
    entity: ["Entity", (feature) => feature.view[1]],
    view: ["View", (feature) => [feature.view[0]]],
    owner: ["Owner", (feature) => [feature.view[2] || "nobody"]],
    type: ["Type", (feature) => [feature.type]],
    tag: ["Tag", (feature) => [...new Set([...feature.tags, ...feature.view[6]])]],
    service: ["Service", (feature) => (feature.services.length ? feature.services : ["none"])],
    updated: ["Updated", (feature) => [feature.view[7] || "not said"]],
    online: ["Online", (feature) => [feature.view[3] ? "yes" : "no"]],
    state: ["State", (feature) => [feature.old ? "deprecated" : "in use", ...(feature.text ? [] : ["not described"])]],
  };

  addEventListener("DOMContentLoaded", async () => {
    const { make, searcher, root } = featurelayer;
    const box = document.getElementById("q");
    const groups = document.getElementById("facet-groups");
    const table = document.getElementById("results");
    const found = document.getElementById("found");
    const more = document.getElementById("more");
    const { documents, find } = await searcher();
    const features = documents.filter(({ kind }) => kind === "feature");
    const wide = new Set();
    // On a phone the list comes first.
    const openly = matchMedia("(max-width: 48rem)").matches ? {} : { entity: true, view: true, owner: true, tag: true };
    let chosen = {};
    let limit = SHOWN;
    let order = null;

    const read = () => {
      const asked = new URLSearchParams(location.hash.slice(1));
      box.value = asked.get("q") ?? "";
      chosen = Object.fromEntries(Object.keys(FACETS).map((name) => [name, new Set(asked.getAll(name))]));
    };
    const remember = () => {
      const asked = new URLSearchParams();
      if (box.value.trim()) asked.set("q", box.value.trim());
      for (const [name, values] of Object.entries(chosen)) for (const value of values) asked.append(name, value);
      history.replaceState(null, "", `#${asked}`);
    };
    const fits = (feature, name) => !chosen[name].size || FACETS[name][1](feature).some((value) => chosen[name].has(value));

    const group = (name, rows) => {
      const counts = new Map();
      for (const feature of rows) for (const value of FACETS[name][1](feature)) counts.set(value, (counts.get(value) ?? 0) + 1);
      for (const value of chosen[name]) if (!counts.has(value)) counts.set(value, 0);
      const values = [...counts].sort(([a, n], [b, m]) => chosen[name].has(b) - chosen[name].has(a) || m - n || a.localeCompare(b));
      const shown = wide.has(name) ? values : values.slice(0, SHORT);
      const details = make("details", { open: openly[name] ?? chosen[name].size > 0 });
      details.addEventListener("toggle", () => { openly[name] = details.open; });
      details.append(make("summary", { textContent: FACETS[name][0] }));
      for (const [value, count] of shown) {
        const input = make("input", { type: "checkbox", checked: chosen[name].has(value), name, value });
        details.append(make("label", {}, input, make("span", { textContent: value }), make("span", { className: "count", textContent: count })));
      }
      if (values.length > shown.length) {
        const button = make("button", { type: "button", className: "link", textContent: `${values.length - shown.length} more` });
        button.addEventListener("click", () => { wide.add(name); draw(); });
        details.append(button);
      }
      return details;
    };

    const row = (feature) => {
      const name = make("td", {}, make("a", { className: "name", href: root + feature.href, textContent: feature.name }));
      if (feature.old) name.append(" ", make("span", { className: "status warn", textContent: "deprecated" }));
      return make("tr", {}, name,
        make("td", {}, make("a", { className: "name", href: root + feature.view[5], textContent: feature.view[0] })),
        make("td", {}, make("code", { textContent: feature.type })),
        make("td", { textContent: feature.unit }),
        make("td", { textContent: feature.text || "not described" }));
    };
    const texts = [(f) => f.name, (f) => f.view[0], (f) => f.type, (f) => f.unit, (f) => f.text];

    const draw = () => {
      const text = box.value.trim();
      const matching = text ? find(text).filter(({ kind }) => kind === "feature") : features;
      const names = Object.keys(FACETS);
      const results = matching.filter((feature) => names.every((name) => fits(feature, name)));
      if (order) {
        const [column, sign] = order;
        results.sort((a, b) => sign * texts[column](a).localeCompare(texts[column](b), undefined, { numeric: true }));
      }
      const focus = document.activeElement;
      const kept = focus?.name && groups.contains(focus) ? [focus.name, focus.value] : null;
      // A facet counts what the others leave, so that choosing a second value of it is never a surprise.
      groups.replaceChildren(...names.map((name) =>
        group(name, matching.filter((feature) => names.every((other) => other === name || fits(feature, other))))));
      if (kept) [...groups.querySelectorAll("input")].find((input) => input.name === kept[0] && input.value === kept[1])?.focus();
      table.tBodies[0].replaceChildren(...results.slice(0, limit).map(row));
      found.textContent = results.length
        ? `${results.length.toLocaleString("en")} of ${features.length.toLocaleString("en")} features`
        : "No feature is like that.";
      more.hidden = results.length <= limit;
    };

    const start = () => { limit = SHOWN; remember(); draw(); };
    box.addEventListener("input", start);
    document.getElementById("facets").addEventListener("submit", (event) => event.preventDefault());
    groups.addEventListener("change", ({ target }) => {
      chosen[target.name][target.checked ? "add" : "delete"](target.value);
      start();
    });
    more.addEventListener("click", () => { limit += 5 * SHOWN; draw(); });
    table.addEventListener("sort", (event) => {
      event.preventDefault();
      const heading = event.detail;
      const down = heading.getAttribute("aria-sort") === "ascending";
      for (const other of heading.parentNode.cells) other.removeAttribute("aria-sort");
      heading.setAttribute("aria-sort", down ? "descending" : "ascending");
      order = [heading.cellIndex, down ? -1 : 1];
      draw();
    });
    addEventListener("hashchange", () => { read(); draw(); });
    read();
    draw();
  });
})();
