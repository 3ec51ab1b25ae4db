// A browser starts no worker on a page that was opened as a file.  There the search runs in a hidden frame instead, so
// that it works in a folder without a server.  (The theme's offline plugin would fetch such a script from elsewhere.)
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super()
      const frame = document.body.appendChild(document.createElement("iframe"))
      frame.hidden = true
      const page = frame.contentDocument
      page.open()
      page.write("<!doctype html><title>search</title>")
      page.close()
      const load = (address) =>
        new Promise((loaded, failed) => {
          const script = page.createElement("script")
          Object.assign(script, { src: new URL(address, document.baseURI).href, onload: loaded, onerror: failed })
          page.head.appendChild(script)
        })
      this.scope = frame.contentWindow
      this.scope.postMessage = (data) => this.dispatchEvent(new MessageEvent("message", { data }))
      this.scope.importScripts = (...addresses) => Promise.all(addresses.map(load))
      this.ready = load(url)
    }

    postMessage(data) {
      this.ready.then(() => this.scope.dispatchEvent(new MessageEvent("message", { data })))
    }

    terminate() {
      this.scope.frameElement.remove()
    }
  }
}
