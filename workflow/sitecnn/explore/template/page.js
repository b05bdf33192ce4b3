// What the browser does by itself, on the live page and in the file to take away: the card of a layer under the
// pointer or the focus, arrow keys in the drawing, marks on a chosen layer, files dropped anywhere.
(() => {
  const alone = () => document.body.classList.contains("alone");
  const nodes = () => [...document.querySelectorAll(".node")];
  const names = (node) => JSON.parse(node.dataset.layers);

  let cards = {};
  let cardsText = "";
  function cardOf(name) {
    const text = document.getElementById("cards-data")?.dataset.cards ?? "{}";
    if (text !== cardsText) [cards, cardsText] = [JSON.parse(text), text];
    return Object.hasOwn(cards, name) ? cards[name] : [];
  }

  function show(node) {
    const place = document.getElementById("layer-card");
    if (!place) return;
    place.replaceChildren(...names(node).map((name) => {
      const list = document.createElement("dl");
      const title = document.createElement("dt");
      title.className = "title";
      title.textContent = name;
      list.append(title);
      for (const [what, value] of cardOf(name)) {
        const term = document.createElement("dt");
        const text = document.createElement("dd");
        term.textContent = what;
        text.textContent = value;
        list.append(term, text);
      }
      return list;
    }));
  }

  function mark(name) {
    let chosen = null;
    for (const node of nodes()) {
      const own = names(node).includes(name);
      node.classList.toggle("chosen", own);
      node.tabIndex = own ? 0 : -1;
      if (own) chosen = node;
    }
    if (!chosen && nodes().length) nodes()[0].tabIndex = 0;
    if (chosen) {
      show(chosen);
      const inside = chosen.closest(".scroller");
      if (inside) {
        const box = chosen.getBoundingClientRect();
        const frame = inside.getBoundingClientRect();
        // The card of the layer lies over the lower part.
        const bottom = Math.min(frame.bottom, document.getElementById("layer-card")?.getBoundingClientRect().top ?? frame.bottom);
        if (box.top < frame.top || box.bottom > bottom) inside.scrollTop += box.top - (frame.top + bottom - box.height) / 2;
        if (box.left < frame.left || box.right > frame.right) inside.scrollLeft += box.left - frame.left - frame.width / 2;
      }
    }
    if (alone()) for (const row of document.querySelectorAll("tr[data-layer]")) row.classList.toggle("chosen", row.dataset.layer === name);
  }

  // The drawing at another size; it keeps it, and the middle of its first layer in view, when it is drawn anew.
  let zoom = 1;
  function resize(graph) {
    const [width, height] = graph.getAttribute("viewBox").split(" ").slice(2).map(Number);
    graph.setAttribute("width", width * zoom);
    graph.setAttribute("height", height * zoom);
  }
  function zoomBy(button) {
    const graph = button.closest(".drawing").querySelector(".graph");
    if (!graph) return;
    const inside = graph.closest(".scroller");
    const factor = Number(button.dataset.zoom);
    zoom = factor ? Math.min(4, Math.max(0.1, zoom * factor)) : Math.max(0.1, inside.clientWidth / graph.viewBox.baseVal.width);
    resize(graph);
  }
  function centre(graph) {
    const inside = graph.closest(".scroller");
    const first = graph.querySelector(".node");
    if (!inside || !first) return;
    const box = first.getBoundingClientRect();
    const frame = inside.getBoundingClientRect();
    if (box.right > frame.right || box.left < frame.left) inside.scrollLeft += box.left - frame.left - (frame.width - box.width) / 2;
  }
  let drawn = "";
  new MutationObserver(() => {
    const graph = document.querySelector(".graph");
    if (!graph || graph.dataset.sized) return;
    graph.dataset.sized = "yes";
    resize(graph);
    const shape = graph.getAttribute("viewBox");
    if (shape !== drawn) centre(graph);
    drawn = shape;
  }).observe(document.documentElement, { childList: true, subtree: true });

  function choose(name) {
    if (alone()) mark(name);
    else emitEvent("layer", name);
  }

  function step(node, key) {
    const all = nodes();
    const here = node.getBoundingClientRect();
    const ahead = { ArrowDown: [0, 1], ArrowUp: [0, -1], ArrowRight: [1, 0], ArrowLeft: [-1, 0] }[key];
    let best = null;
    let least = Infinity;
    for (const other of key === "Home" || key === "End" ? [] : all) {
      const box = other.getBoundingClientRect();
      const [dx, dy] = [box.left - here.left, box.top - here.top];
      const along = dx * ahead[0] + dy * ahead[1];
      const aside = Math.abs(dx * ahead[1]) + Math.abs(dy * ahead[0]);
      if (along > 2 && along + 3 * aside < least) [best, least] = [other, along + 3 * aside];
    }
    if (key === "Home") best = all[0];
    if (key === "End") best = all[all.length - 1];
    if (!best) return;
    node.tabIndex = -1;
    best.tabIndex = 0;
    best.focus();
  }

  const nodeOf = (event) => event.target.closest?.(".node");
  document.addEventListener("pointerover", (event) => nodeOf(event) && show(nodeOf(event)));
  document.addEventListener("pointerout", (event) => {
    const chosen = document.querySelector(".node.chosen");
    if (nodeOf(event) && !event.relatedTarget?.closest?.(".node")) chosen ? show(chosen) : document.getElementById("layer-card")?.replaceChildren();
  });
  document.addEventListener("focusin", (event) => nodeOf(event) && show(nodeOf(event)));
  document.addEventListener("click", (event) => {
    if (nodeOf(event)) choose(names(nodeOf(event))[0]);
    const row = alone() && event.target.closest?.("tr[data-layer]");
    if (row) mark(row.dataset.layer);
    const zoomer = event.target.closest?.("[data-zoom]");
    if (zoomer) zoomBy(zoomer);
    const sorter = event.target.closest?.("table.sortable thead button");
    if (sorter) sort(sorter);
  });
  document.addEventListener("keydown", (event) => {
    const node = nodeOf(event);
    if (!node) return;
    if (event.key === "Escape") return document.getElementById("layer-card")?.replaceChildren();
    if (event.key === "Enter" || event.key === " ") choose(names(node)[0]);
    else if (/^Arrow|^Home$|^End$/.test(event.key)) step(node, event.key);
    else return;
    event.preventDefault();
  });

  function sort(button) {
    const head = button.closest("th");
    const down = head.getAttribute("aria-sort") === "ascending";
    const table = head.closest("table");
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const value = (row) => row.cells[head.cellIndex].dataset.v ?? row.cells[head.cellIndex].textContent;
    const order = (one, other) => (isNaN(one) || isNaN(other) ? one.localeCompare(other) : one - other);
    const rows = [...table.tBodies[0].rows].sort((one, other) => (down ? -1 : 1) * order(value(one), value(other)));
    table.tBodies[0].append(...rows);
  }

  window.sitecnnMark = mark;
  window.sitecnnDark = () => {
    const dark = !document.body.classList.contains("body--dark");
    document.body.classList.toggle("body--dark", dark);
    document.body.classList.toggle("body--light", !dark);
  };
  window.sitecnnDrop = (id) => {
    const shade = (on) => document.body.classList.toggle("dropping", on);
    document.addEventListener("dragover", (event) => {
      if (event.dataTransfer?.types.includes("Files")) { event.preventDefault(); shade(true); }
    });
    document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) shade(false); });
    document.addEventListener("drop", (event) => {
      if (!event.dataTransfer?.files.length) return;
      event.preventDefault();
      event.stopPropagation();
      shade(false);
      getElement(id).$refs.qRef.addFiles([event.dataTransfer.files[0]]);
    }, true);
    const name = () => {
      const content = document.querySelector(".cm-content");
      if (content) {
        content.setAttribute("aria-label", "text of the network");
        content.tabIndex = 0;
      }
      else setTimeout(name, 50);
    };
    name();
  };
})();
