// Offers tools as a name is typed: a combobox with a list of its own (WAI-ARIA Authoring Practices). The form works without it.
"use strict";
(() => {
  const WAIT = 120;
  const MOST = 8;
  const made = (name, attributes) => {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    return element;
  };

  for (const input of document.querySelectorAll("[data-pick]")) {
    const { id } = input;
    const list = made("ul", { id: `${id}-list`, role: "listbox", "aria-label": "Tools", class: "offers", hidden: "" });
    const said = made("p", { class: "unseen", role: "status" });
    const chosen = made("input", { type: "hidden" });
    let timer = 0;
    let asking = null;
    let at = -1;
    for (const [key, value] of Object.entries({ role: "combobox", "aria-autocomplete": "list", "aria-expanded": "false", "aria-controls": list.id }))
      input.setAttribute(key, value);
    input.after(list, said, chosen);

    // What is sent is the slug of the tool that was chosen, else what is typed.
    function choose(slug, name) {
      input.value = name;
      input.removeAttribute("name");
      chosen.name = id;
      chosen.value = slug;
      close();
    }
    function type() {
      input.name = id;
      chosen.removeAttribute("name");
    }
    function close() {
      clearTimeout(timer);
      asking?.abort();
      at = -1;
      list.hidden = true;
      input.setAttribute("aria-expanded", "false");
      input.removeAttribute("aria-activedescendant");
    }
    function mark(next) {
      list.children[at]?.setAttribute("aria-selected", "false");
      at = next;
      const option = list.children[at];
      if (!option) return input.removeAttribute("aria-activedescendant");
      option.setAttribute("aria-selected", "true");
      option.scrollIntoView({ block: "nearest" });
      input.setAttribute("aria-activedescendant", option.id);
    }
    function offer(tools) {
      list.replaceChildren(
        ...tools.map((tool, n) => {
          const option = made("li", { id: `${id}-${n}`, role: "option", "aria-selected": "false" });
          const name = document.createElement("bdi");
          const category = made("span", { class: "fine" });
          name.textContent = tool.name;
          category.textContent = tool.category;
          option.append(name, " ", category);
          option.addEventListener("mousedown", (event) => {
            event.preventDefault();
            choose(tool.slug, tool.name);
          });
          option.choose = () => choose(tool.slug, tool.name);
          return option;
        }),
      );
      at = -1;
      list.hidden = !tools.length;
      input.setAttribute("aria-expanded", String(tools.length > 0));
      said.textContent = tools.length ? `${tools.length} ${tools.length === 1 ? "tool" : "tools"} to choose from` : "No tool has these words";
    }
    async function ask() {
      asking?.abort();
      asking = new AbortController();
      try {
        const answer = await fetch(`/v1/search?limit=${MOST}&q=${encodeURIComponent(input.value.trim())}`, { signal: asking.signal });
        if (answer.ok) offer((await answer.json()).items);
      } catch {
        // another letter was typed, or there is no connection: the form does without
      }
    }
    input.addEventListener("input", () => {
      type();
      clearTimeout(timer);
      if (input.value.trim()) timer = setTimeout(ask, WAIT);
      else close();
    });
    input.addEventListener("keydown", (event) => {
      const last = list.children.length - 1;
      if (event.key === "ArrowDown" && list.hidden && input.value.trim()) ask();
      else if (event.key === "ArrowDown" && !list.hidden) mark(at < last ? at + 1 : 0);
      else if (event.key === "ArrowUp" && !list.hidden) mark(at > 0 ? at - 1 : last);
      else if (event.key === "Enter" && at >= 0) list.children[at].choose();
      else if (event.key === "Escape" && !list.hidden) close();
      else return;
      event.preventDefault();
    });
    input.addEventListener("blur", close);
    if (input.dataset.pick) choose(input.value, input.dataset.pick);
  }
})();
