"use strict";

// The page says so when it can no longer be current, instead of showing old values as if they were new.
const lost = document.getElementById("lost");
for (const failure of ["htmx:sendError", "htmx:responseError", "htmx:timeout"]) {
  document.body.addEventListener(failure, () => { lost.hidden = false; });
}
document.body.addEventListener("htmx:afterSwap", () => { lost.hidden = true; });
