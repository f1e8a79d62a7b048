// What every page can do: search, sort, copy, switch between light and dark, and load long SQL when it is asked for.
(() => {
  "use strict";
  const root = document.documentElement.dataset.root;

  const make = (tag, properties = {}, ...children) => {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
  };

  const load = (source) =>
    new Promise((resolve, reject) => {
      const script = make("script", { src: root + source, onload: resolve, onerror: reject });
      document.head.append(script);
    });

  // --- what every page has ---------------------------------------------------------------------------------------

  const described = (element, attributes) => {
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    return element;
  };
  const hint = "Search features, views, entities, services …";
  const place = document.querySelector(".search:empty");
  place?.setAttribute("role", "search");
  place?.append(
    described(make("input", { id: "q", type: "search", placeholder: hint, autocomplete: "off", spellcheck: false }),
      { role: "combobox", "aria-label": hint, "aria-expanded": "false", "aria-controls": "hits", "aria-autocomplete": "list" }),
    described(make("kbd", { textContent: "/" }), { "aria-hidden": "true" }),
    described(make("ul", { id: "hits", hidden: true }), { role: "listbox", "aria-label": "Results" }));
  const box = document.getElementById("q");
  if (!document.querySelector("header nav")) {
    const menu = { Features: "features", Views: "views", Entities: "entities", Services: "services", Lineage: "lineage",
      Health: "monitors", Exports: "exports", Changes: "changes", Glossary: "glossary" };
    const links = Object.entries(menu).map(([name, page]) => make("a", { href: `${root}${page}.html`, textContent: name }));
    document.querySelector("header.top").append(described(make("nav", {}, ...links), { "aria-label": "Site" }));
  }
  const theme = described(make("button", { type: "button", className: "theme", title: "Light or dark" }),
    { "aria-label": "Switch between light and dark" });
  document.querySelector("header.top").append(theme);

  // --- search ---------------------------------------------------------------------------------------------------

  /** Everything that can be found, and an index of it that forgives typing mistakes. */
  const built = () => {
    const { views, features, others } = featurelayer.search;
    const documents = [
      ...features.map(([name, view, type, text, unit, tags, address, services, old]) => ({
        kind: "feature", name, text, type, unit, view: views[view], tags, services, old,
        full: `${views[view][0]}.${name}`, context: `${views[view][0]} ${views[view][1].join(" ")}`,
        extra: `${unit} ${tags.join(" ")} ${views[view][2]} ${services.join(" ")}`, href: `feature/${address}.html`,
      })),
      ...views.map(([name, entities, owner, , text, href, tags]) => ({
        kind: "view", name, full: name, text, context: entities.join(" "), extra: `${owner} ${tags.join(" ")}`, href,
      })),
      ...others.map(([kind, name, text, href]) => ({ kind, name, full: name, text, context: "", extra: "", href })),
    ];
    documents.forEach((document, id) => { document.id = id; });
    const index = new MiniSearch({
      fields: ["name", "full", "text", "context", "extra"],
      tokenize: (text) => text.toLowerCase().split(/[^\p{L}\p{N}]+/u).filter(Boolean),
      searchOptions: {
        prefix: true,
        combineWith: "AND",
        fuzzy: (term) => term.length > 3 && 1,
        boost: { name: 4, full: 2, context: 1.5 },
        boostDocument: (id) => (documents[id].old ? 0.4 : 1) * (documents[id].kind === "feature" ? 1 : 1.15),
      },
    });
    index.addAll(documents);
    // First as it is written, give or take a letter; then with two; then whatever has any of the words.
    const looser = [{}, { fuzzy: (term) => term.length > 3 && 2 }, { fuzzy: (term) => term.length > 3 && 2, combineWith: "OR" }];
    const find = (text) => {
      for (const options of looser) {
        const found = index.search(text, options);
        if (found.length) return found.map(({ id }) => documents[id]);
      }
      return [];
    };
    return { documents, find };
  };

  let ready = null;
  const searcher = () => {
    ready ??= (async () => {
      if (!globalThis.MiniSearch) await load("static/minisearch.js");
      if (!globalThis.featurelayer?.search) await load("data/search.js");
      return built();
    })();
    return ready;
  };

  const setUpBox = (list) => {
    let hits = [];
    let chosen = -1;
    let asked = 0;

    const close = () => {
      list.hidden = true;
      chosen = -1;
      box.setAttribute("aria-expanded", "false");
      box.removeAttribute("aria-activedescendant");
    };
    const choose = (position) => {
      chosen = (position + hits.length) % hits.length;
      [...list.children].forEach((item, place) => item.setAttribute("aria-selected", String(place === chosen)));
      box.setAttribute("aria-activedescendant", `hit-${chosen}`);
      list.children[chosen].scrollIntoView({ block: "nearest" });
    };
    const show = async () => {
      const text = box.value.trim();
      const turn = ++asked;
      if (!text) return close();
      const { find } = await searcher();
      if (turn !== asked) return;
      hits = find(text).slice(0, 12);
      const items = hits.map((hit, place) => {
        const item = make("li", { id: `hit-${place}` },
          make("span", { className: "kind", textContent: hit.kind }),
          make("b", { textContent: hit.name }),
          make("span", { className: "of", textContent: hit.view ? hit.view[0] : "" }),
          make("span", { className: "text", textContent: hit.text }));
        // No link inside: an option of a list may hold nothing that can be used by itself.
        const open = (event) => {
          if (event.ctrlKey || event.metaKey || event.button === 1) globalThis.open(root + hit.href);
          else location.href = root + hit.href;
        };
        item.addEventListener("click", open);
        item.addEventListener("auxclick", open);
        item.setAttribute("role", "option");
        item.setAttribute("aria-selected", "false");
        return item;
      });
      if (!items.length) {
        const item = make("li", { className: "none", textContent: `Nothing is like “${text}”.` });
        item.setAttribute("role", "option");
        item.setAttribute("aria-disabled", "true");
        item.setAttribute("aria-selected", "false");
        items.push(item);
      }
      list.replaceChildren(...items);
      list.hidden = false;
      box.setAttribute("aria-expanded", "true");
      chosen = -1;
      if (hits.length) choose(0);
    };

    box.addEventListener("focus", searcher, { once: true });
    box.addEventListener("input", show);
    box.addEventListener("keydown", (event) => {
      if (event.key === "Escape") {
        if (list.hidden) box.value = "";
        close();
      } else if (!list.hidden && hits.length && event.key === "ArrowDown") {
        event.preventDefault();
        choose(chosen + 1);
      } else if (!list.hidden && hits.length && event.key === "ArrowUp") {
        event.preventDefault();
        choose(chosen - 1);
      } else if (event.key === "Enter") {
        event.preventDefault();
        show().then(() => { if (hits.length) location.href = root + hits[Math.max(chosen, 0)].href; });
      }
    });
    document.addEventListener("click", (event) => { if (!event.target.closest(".search")) close(); });
  };

  const hits = document.getElementById("hits");
  if (box && hits) setUpBox(hits);

  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest?.("input, textarea, select, [contenteditable]");
    if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey && box) {
      event.preventDefault();
      box.focus();
      box.select();
    }
  });

  // --- tables ---------------------------------------------------------------------------------------------------

  const valueOf = (row, column) => {
    const cell = row.cells[column];
    return (cell.querySelector("time")?.dateTime ?? cell.textContent).trim();
  };
  const compare = (one, other) => {
    if (!one || !other) return (one ? 0 : 1) - (other ? 0 : 1);
    const [x, y] = [one, other].map((text) => Number(text.replace(/[,%]/g, "")));
    return Number.isNaN(x) || Number.isNaN(y) ? one.localeCompare(other, undefined, { numeric: true }) : x - y;
  };
  const sortBy = (table, heading) => {
    const column = heading.cellIndex;
    const down = heading.getAttribute("aria-sort") === "ascending";
    const rows = [...table.tBodies[0].rows];
    rows.sort((one, other) => compare(valueOf(one, column), valueOf(other, column)) * (down ? -1 : 1));
    table.tBodies[0].append(...rows);
    for (const other of heading.parentNode.cells) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", down ? "descending" : "ascending");
  };
  for (const table of document.querySelectorAll("table")) {
    if (table.classList.contains("sortable")) {
      for (const heading of table.tHead.rows[0].cells) {
        const button = make("button", { type: "button" }, ...heading.childNodes);
        heading.append(button);
        button.addEventListener("click", () => {
          if (table.dispatchEvent(new CustomEvent("sort", { detail: heading, cancelable: true }))) sortBy(table, heading);
        });
      }
    }
    const frame = make("div", { className: "table" });
    table.replaceWith(frame);
    frame.append(table);
  }
  // What is wider than the page can be scrolled with the keyboard, too.
  const reachable = () => {
    for (const frame of document.querySelectorAll(".table, figure.code pre")) {
      if (frame.scrollWidth > frame.clientWidth || frame.scrollHeight > frame.clientHeight) {
        frame.tabIndex = 0;
        frame.setAttribute("role", "region");
        frame.setAttribute("aria-label", frame.matches("pre") ? "Code" : "Table");
      }
    }
  };
  addEventListener("resize", reachable);
  document.addEventListener("toggle", reachable, true);

  // --- code -----------------------------------------------------------------------------------------------------

  const copied = async (text) => {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      const area = make("textarea", { value: text, className: "away" });
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
  };
  const framed = (code) => {
    const figure = make("figure", { className: "code" });
    code.replaceWith(figure);
    if (code.title) figure.append(make("figcaption", { textContent: code.title }));
    code.removeAttribute("title");
    figure.append(code);
    copyable(figure);
  };
  const copyable = (figure) => {
    const button = make("button", { type: "button", className: "copy", textContent: "Copy" });
    const title = figure.querySelector("figcaption")?.textContent ?? "code";
    button.setAttribute("aria-label", `Copy: ${title}`);
    button.addEventListener("click", async () => {
      await copied(figure.querySelector("pre").textContent);
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    });
    figure.prepend(button);
  };
  document.querySelectorAll("main pre").forEach(framed);

  for (const details of document.querySelectorAll("details[data-load]")) {
    const open = async () => {
      if (!details.open || details.querySelector("figure")) return;
      await load(details.dataset.load);
      const figure = make("figure", { className: "code" }, make("pre", { textContent: featurelayer.sql }));
      details.append(figure);
      copyable(figure);
      reachable();
    };
    details.addEventListener("toggle", open);
  }
  reachable();
  const reveal = () => {
    const named = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    const closed = named && named.querySelector("details:not([open])");
    if (closed) closed.open = true;
  };
  reveal();
  addEventListener("hashchange", reveal);

  // --- the rest -------------------------------------------------------------------------------------------------

  const ages = [[31536000, "year"], [2592000, "month"], [86400, "day"], [3600, "hour"], [60, "minute"]];
  for (const time of document.querySelectorAll("main time")) {
    const seconds = (Date.now() - Date.parse(time.dateTime)) / 1000;
    const [size, unit] = ages.find(([length]) => Math.abs(seconds) >= length) ?? [1, "second"];
    time.title = new Intl.RelativeTimeFormat("en").format(-Math.round(seconds / size), unit);
  }

  theme.addEventListener("click", () => {
    const page = document.documentElement;
    const dark = page.dataset.theme
      ? page.dataset.theme === "dark"
      : matchMedia("(prefers-color-scheme: dark)").matches;
    page.dataset.theme = dark ? "light" : "dark";
    try {
      localStorage.setItem("featurelayer-theme", page.dataset.theme);
    } catch {
      // Then the choice lasts as long as the page.
    }
    dispatchEvent(new Event("theme"));
  });

  globalThis.featurelayer = Object.assign(globalThis.featurelayer ?? {}, { make, searcher, root });

  if (document.getElementById("chart")) {
    document.head.append(make("link", { rel: "stylesheet", href: `${root}static/uplot.css` }));
    load("static/uplot.js").then(() => load("static/plots.js"));
  }
})();
