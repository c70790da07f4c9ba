// Before anything is drawn: light or dark as the system has it, unless the person chose.
const root = document.documentElement;
if (root.dataset.theme === "auto") {
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const follow = () => root.setAttribute("data-bs-theme", dark.matches ? "dark" : "light");
  follow();
  dark.addEventListener("change", follow);
}

// The browser's time zone, so that pages show the reader's clock until the person chooses another one.
const told = `loopwise_zone=${encodeURIComponent(Intl.DateTimeFormat().resolvedOptions().timeZone)}`;
if (!document.cookie.split("; ").includes(told)) {
  // biome-ignore lint/suspicious/noDocumentCookie: the Cookie Store API does not exist in every browser
  document.cookie = `${told}; path=/admin; max-age=31536000; samesite=lax`;
}
