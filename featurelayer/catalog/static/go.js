// Leads from dbt's unique id behind the # to the page of what it names.
(() => {
  "use strict";
  const go = () => {
    const asked = decodeURIComponent(location.hash.slice(1));
    const node = featurelayer.lineage.nodes.find(([, , , id]) => id === asked);
    if (node) location.replace(node[2] || `lineage.html#${encodeURIComponent(asked)}`);
    else if (asked) document.getElementById("go").textContent = `Nothing here has the unique id ${asked}.`;
  };
  addEventListener("hashchange", go);
  addEventListener("DOMContentLoaded", go);
})();
