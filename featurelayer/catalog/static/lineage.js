// The graph of the lineage: everything, or what is before and after one node.
(() => {
  "use strict";
  const MANY = 60;
  const MOST = 120;

  addEventListener("DOMContentLoaded", () => {
    const { make, root } = featurelayer;
    const { nodes, edges } = featurelayer.lineage;
    const [before, after] = [nodes.map(() => []), nodes.map(() => [])];
    for (const [source, target] of edges) {
      after[source].push(target);
      before[target].push(source);
    }
    const input = document.getElementById("node");
    const depth = document.getElementById("depth");
    const heading = document.getElementById("chosen");
    const texts = document.getElementById("neighbours");
    const everything = heading.textContent;
    document.getElementById("nodes").append(...nodes.map(([name, kind]) => make("option", { value: name, label: kind })));

    const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
    const style = () => [
      { selector: "node", style: {
        shape: "round-rectangle", width: "data(width)", height: 30, label: "data(name)", "text-valign": "center",
        "font-family": "system-ui, sans-serif", "font-size": 13, color: colour("--text"), "text-wrap": "none",
        "background-color": colour("--surface"), "border-width": 1.5, "border-color": colour("--muted"), "min-zoomed-font-size": 4,
      } },
      ...["source", "model", "view", "service"].map((kind) => ({ selector: `node[kind="${kind}"]`, style: {
        "border-color": colour(`--${kind}`), "background-color": colour(`--${kind}-soft`),
      } })),
      { selector: "edge", style: {
        width: 1.5, "edge-distances": "node-position", "line-color": colour("--edge"), "target-arrow-color": colour("--edge"), "target-arrow-shape": "triangle",
        "arrow-scale": 0.8, "curve-style": "straight",
      } },
      { selector: "edge[weights]", style: {
        "curve-style": "round-segments", "segment-weights": "data(weights)", "segment-distances": "data(distances)", "segment-radii": 12,
      } },
      { selector: ".crowd", style: { opacity: 0.25, "arrow-scale": 0.5, width: 1 } },
      { selector: ".focus", style: { "border-width": 3, "font-weight": "bold" } },
      { selector: ".faded", style: { opacity: 0.15 } },
    ];
    const graph = cytoscape({
      container: document.getElementById("graph"), style: style(), minZoom: 0.05, maxZoom: 2,
      autoungrabify: true, boxSelectionEnabled: false,
    });

    const reach = (start, next, steps) => {
      const seen = new Map([[start, 0]]);
      for (const [node, distance] of seen) {
        if (distance < steps) for (const other of next[node]) if (!seen.has(other)) seen.set(other, distance + 1);
      }
      return seen;
    };
    const kindOf = (kind) => (kind === "seed" ? "source" : kind === "snapshot" ? "model" : kind);
    /** The points that lead an edge around other nodes, as cytoscape wants them: along and beside the straight line. */
    const bends = (from, to, points) => {
      const [dx, dy] = [to.x - from.x, to.y - from.y];
      const length = Math.hypot(dx, dy) || 1;
      const inner = points.slice(1, -1).map(({ x, y }) => {
        const [px, py] = [x - from.x, y - from.y];
        return [(px * dx + py * dy) / length ** 2, (py * dx - px * dy) / length];
      });
      if (!inner.some(([, distance]) => Math.abs(distance) > 4)) return {};
      return { weights: inner.map(([weight]) => weight), distances: inner.map(([, distance]) => distance) };
    };
    const width = (name) => Math.max(60, Math.min(name.length, 34) * 7.6 + 20);

    /** Where dagre puts nodes, and the points by which it leads edges around others. */
    const arranged = (shown, links) => {
      const layout = new dagre.graphlib.Graph().setGraph({ rankdir: "LR", nodesep: 14, ranksep: 70 }).setDefaultEdgeLabel(() => ({}));
      for (const node of shown) layout.setNode(String(node), { width: width(nodes[node][0]), height: 30 });
      for (const [source, target] of links) layout.setEdge(String(source), String(target));
      dagre.layout(layout);
      return {
        at: (node) => layout.node(String(node)),
        bent: (source, target) => bends(layout.node(String(source)), layout.node(String(target)), layout.edge(String(source), String(target)).points),
      };
    };
    /** The same for graphs that would take dagre minutes: a column per step from the sources, neighbours near each other. */
    const stacked = (shown, links) => {
      const rank = new Map(shown.map((node) => [node, 0]));
      const waiting = new Map(shown.map((node) => [node, 0]));
      for (const [, target] of links) waiting.set(target, waiting.get(target) + 1);
      const ready = shown.filter((node) => !waiting.get(node));
      const [reads, feeds] = [new Map(shown.map((node) => [node, []])), new Map(shown.map((node) => [node, []]))];
      for (const [source, target] of links) {
        reads.get(target).push(source);
        feeds.get(source).push(target);
      }
      for (const node of ready) {
        for (const next of feeds.get(node)) {
          rank.set(next, Math.max(rank.get(next), rank.get(node) + 1));
          waiting.set(next, waiting.get(next) - 1);
          if (!waiting.get(next)) ready.push(next);
        }
      }
      const columns = [];
      for (const node of shown) (columns[rank.get(node)] ??= []).push(node);
      const place = new Map();
      const settle = (column) => column.forEach((node, row) => place.set(node, row - column.length / 2));
      columns.forEach(settle);
      const middle = (node, near) => {
        const rows = near.get(node).map((other) => place.get(other));
        return rows.length ? rows.reduce((sum, row) => sum + row, 0) / rows.length : place.get(node);
      };
      for (let sweep = 0; sweep < 6; sweep += 1) {
        const near = sweep % 2 ? feeds : reads;
        for (const column of sweep % 2 ? [...columns].reverse() : columns) {
          const wanted = new Map(column.map((node) => [node, middle(node, near)]));
          column.sort((one, other) => wanted.get(one) - wanted.get(other));
          settle(column);
        }
      }
      // A long column is folded into several side by side, so that all of it is about twice as wide as high.
      const rows = Math.max(12, Math.ceil(Math.sqrt(shown.length * 1.8)));
      const spots = new Map();
      let left = 0;
      for (const column of columns) {
        for (let from = 0; from < column.length; from += rows) {
          const fold = column.slice(from, from + rows);
          fold.forEach((node, row) => spots.set(node, { x: left + width(nodes[node][0]) / 2, y: (row - fold.length / 2) * 42 }));
          left += Math.max(...fold.map((node) => width(nodes[node][0]))) + 18;
        }
        left += 90;
      }
      return { at: (node) => spots.get(node), bent: () => ({}) };
    };
    const place = (shown) => {
      const kept = new Set(shown);
      const links = edges.filter(([source, target]) => kept.has(source) && kept.has(target));
      const { at, bent } = shown.length > MOST || links.length > 2 * MOST ? stacked(shown, links) : arranged(shown, links);
      graph.batch(() => {
        graph.elements().remove();
        graph.add(shown.map((node) => {
          const [name, kind] = nodes[node];
          const { x, y } = at(node);
          const short = name.length > 34 ? `${name.slice(0, 33)}…` : name;
          return { data: { id: String(node), name: short, kind: kindOf(kind), width: width(name) }, position: { x, y } };
        }));
        graph.add(links.map(([source, target]) => ({ data: {
          id: `${source}-${target}`, source: String(source), target: String(target),
          ...bent(source, target),
        }, classes: shown.length > MOST ? "crowd" : "" })));
      });
    };
    const fit = () => {
      graph.resize();
      graph.fit(undefined, 24);
      if (graph.zoom() > 1.1) {
        graph.zoom(1.1);
        graph.center();
      }
    };

    const links = (title, list) => {
      const items = list.map((node) => {
        const [name, kind, href, id] = nodes[node];
        const item = make("li", {}, make("a", { className: "name", href: `#${encodeURIComponent(id)}`, textContent: name }), ` ${kind}`);
        if (href) item.append(" · ", make("a", { href: root + href, textContent: "page", ariaLabel: `Page of ${name}` }));
        return item;
      });
      return [make("h3", { textContent: title }), items.length ? make("ul", { className: "plain" }, ...items) : make("p", { className: "none", textContent: "nothing" })];
    };
    const tell = (focus) => {
      if (focus === null) {
        heading.textContent = everything;
        texts.replaceChildren(make("p", { className: "none", textContent: "Choose something in the graph, or by its name." }));
        return;
      }
      const [name, kind, href] = nodes[focus];
      heading.textContent = name;
      const about = make("p", { textContent: kind === "view" ? "feature view" : kind });
      if (href) about.append(" · ", make("a", { href: root + href, textContent: "its page" }));
      texts.replaceChildren(about,
        make("div", { className: "columns" }, make("div", {}, ...links("Reads", before[focus])), make("div", {}, ...links("Is read by", after[focus]))));
    };

    const show = (focus) => {
      if (focus === null) {
        place(nodes.map((_node, position) => position));
      } else {
        const steps = Number(depth.value);
        place([...new Set([...reach(focus, before, steps).keys(), ...reach(focus, after, steps).keys()])]);
        graph.getElementById(String(focus)).addClass("focus");
      }
      input.value = focus === null ? "" : nodes[focus][0];
      tell(focus);
      fit();
    };
    const asked = () => {
      const id = decodeURIComponent(location.hash.slice(1));
      const found = nodes.findIndex((node) => node[3] === id);
      return found < 0 ? null : found;
    };
    const go = (position) => { location.hash = position === null ? "" : encodeURIComponent(nodes[position][3]); };

    graph.on("tap", "node", ({ target }) => go(Number(target.id())));
    graph.on("mouseover", "node", ({ target }) => {
      const near = target.predecessors().union(target.successors()).union(target);
      graph.elements().difference(near).addClass("faded");
      near.removeClass("crowd");
    });
    graph.on("mouseout", "node", () => {
      graph.elements().removeClass("faded");
      if (graph.nodes().length > MOST) graph.edges().addClass("crowd");
    });
    input.addEventListener("change", () => {
      const found = nodes.findIndex(([name]) => name === input.value.trim());
      if (found >= 0 || !input.value.trim()) go(found < 0 ? null : found);
    });
    depth.addEventListener("change", () => show(asked()));
    document.getElementById("all").addEventListener("click", () => go(null));
    document.getElementById("fit").addEventListener("click", fit);
    addEventListener("hashchange", () => show(asked()));
    const restyle = () => graph.style(style());
    addEventListener("theme", restyle);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", restyle);

    // A large graph begins with the view that most is attached to: everything at once would be too small to read.
    let first = asked();
    if (first === null && nodes.length > MANY) {
      const views = nodes.map((node, position) => [node[1] === "view" ? after[position].length + before[position].length : -1, position]);
      const [most, position] = views.reduce((one, other) => (other[0] > one[0] ? other : one));
      if (most >= 0) {
        first = position;
        history.replaceState(null, "", `#${encodeURIComponent(nodes[first][3])}`);
      }
    }
    show(first);
    featurelayer.graph = graph;
  });
})();
