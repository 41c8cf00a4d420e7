// What the pages do beyond HTML: `/` and `?`, the switch for times, boxes that tick all. Everything works without it.
(() => {
  "use strict";
  const typing = (element) => element.closest("input, textarea, select, [contenteditable]");

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || typing(event.target)) return;
    if (event.key === "/") {
      const field = document.querySelector("[data-search], main form[method=get] input, main form[method=get] select");
      if (field) { event.preventDefault(); field.focus(); }
    } else if (event.key === "?") {
      window.location.assign("/help");
    }
  });

  // Parts that are asked for again stand still while nobody sees them, and while somebody is at work in them.
  const busy = (part) => part.contains(document.activeElement) || part.querySelector("details[open]");
  document.addEventListener("htmx:beforeRequest", (event) => {
    if (event.target.hasAttribute("data-live") && (document.hidden || busy(event.target))) event.preventDefault();
  });
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden && window.htmx) {
      document.querySelectorAll("[data-live]").forEach((part) => window.htmx.trigger(part, "seen"));
    }
  });
  // A session that has ended while a page was open leads to the sign-in.
  document.addEventListener("htmx:responseError", (event) => {
    if (event.detail.xhr.status === 401) window.location.reload();
  });

  const shown = () => localStorage.getItem("times") || "ago";
  const say = (root) => {
    for (const time of root.querySelectorAll("time[datetime]")) {
      const ago = time.querySelector(".ago"), utc = time.querySelector(".utc");
      if (!ago || !utc) continue;
      if (!time.dataset.utc) time.dataset.utc = utc.textContent;
      const local = shown() === "local";
      ago.hidden = shown() !== "ago";
      utc.hidden = shown() === "ago";
      utc.textContent = local ? new Date(time.dateTime).toLocaleString() : time.dataset.utc;
    }
  };
  const choice = document.querySelector(".times");
  if (choice) {
    choice.hidden = false;
    for (const radio of choice.querySelectorAll("input")) {
      radio.checked = radio.value === shown();
      radio.addEventListener("change", () => { localStorage.setItem("times", radio.value); say(document); });
    }
    say(document);
  }
  document.addEventListener("htmx:afterSwap", (event) => say(event.target.parentElement || document));

  // A key is copied with one press; whoever has no clipboard here selects it.
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    const from = document.querySelector(button.dataset.copy), said = document.querySelector("[data-copied]");
    const select = () => { window.getSelection().selectAllChildren(from); said.textContent = "Selected: copy it with the keyboard."; };
    if (!navigator.clipboard) { select(); return; }
    navigator.clipboard.writeText(from.textContent).then(() => { said.textContent = "Copied."; }, select);
  });

  // One box for all boxes of its table.
  document.addEventListener("change", (event) => {
    const all = event.target.closest("[data-all]");
    if (!all) return;
    for (const box of all.closest("table").querySelectorAll("tbody input[type=checkbox]")) box.checked = all.checked;
  });
})();
