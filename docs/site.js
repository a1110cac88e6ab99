// The theme makes a landmark without a name of each code block's buttons.
let count = 0;
const name = () => {
  for (const nav of document.querySelectorAll("nav.md-code__nav:not([aria-label])")) {
    nav.setAttribute("aria-label", `Code block ${++count}`);
  }
};
new MutationObserver(name).observe(document.body, { subtree: true, childList: true });
name();
