"""The page that an ONNX export brings along: it runs the network in a browser, on the microphone or a file.

`assets/` is what is copied: plain HTML, CSS and modules of JavaScript, which read classes, rate, clip length and
thresholds out of `model.onnx` itself, and `package.json`, by which the user's own npm fetches the runtime.
"""
