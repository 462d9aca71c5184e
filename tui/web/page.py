"""What the browser loads beside textual-serve's own script: the page, its style, and the focus of its terminal."""

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>firedeck</title>
<link rel="stylesheet" href="/static/css/xterm.css"><link rel="stylesheet" href="/page.css">
<script src="/static/js/textual.js"></script><script src="/page.js"></script></head>
<body><div id="terminal" class="textual-terminal" data-session-websocket-url="WEBSOCKET" data-font-size="16"></div>
<p class="ended">The dashboard has ended. Load the page again to open another.</p></body></html>
"""
STYLE = """body { margin: 0; background: #0d1117; color: #d5dbe5; font-family: monospace; }
#terminal { position: absolute; inset: 0; }
.ended { display: none; position: absolute; top: 40%; width: 100%; text-align: center; }
body.-closed .ended { display: block; } body.-closed #terminal { opacity: 0.3; }
"""
# Keys go to the terminal from the start on: nobody clicks into a dashboard before typing, and not all have a mouse.
SCRIPT = """const toTerminal = () => document.querySelector(".xterm-helper-textarea")?.focus();
new MutationObserver((_, observer) => {
  toTerminal();
  if (document.activeElement !== document.body) observer.disconnect();
}).observe(document, { childList: true, subtree: true });
window.addEventListener("focus", toTerminal);
"""
