//! One page in a browser, and everything that it did: requests, dialogs, complaints.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::browser::Browser;

/// How long a page is watched after it has loaded: longer than any script that it might have waits.
const WATCHED_MILLISECONDS: u64 = 500;

/// How a page is opened.
#[derive(Clone, Copy, Default)]
pub(crate) struct How<'a> {
    /// What the browser answers when it is asked who it is.
    pub(crate) credentials: Option<(&'a str, &'a str)>,
    /// Of the window, in pixels.
    pub(crate) width: u32,
    /// Whether the page's own policy is ignored, so that nothing but escaping protects it.
    pub(crate) without_policy: bool,
}

/// A page, in a browser profile of its own.
pub(crate) struct Tab<'a> {
    browser: &'a mut Browser,
    session: String,
    origin: String,
    credentials: Option<(String, String)>,
    /// The documents that have loaded, `about:blank` perhaps among them.
    loaded: Vec<Value>,
    /// Status of the page itself.
    pub(crate) status: u64,
    /// Paths asked for at the page's own address, in order, each once.
    pub(crate) requests: Vec<String>,
    /// Addresses elsewhere that it asked for; in vain.
    pub(crate) strangers: Vec<String>,
    /// Texts of the dialogs that it opened.
    pub(crate) dialogs: Vec<String>,
    /// What was written to the console, by scripts or by the browser; exceptions.
    pub(crate) complaints: Vec<String>,
}

impl<'a> Tab<'a> {
    /// Opens the page at `/` of an address, and watches it for a while.
    pub(crate) fn open(browser: &'a mut Browser, address: SocketAddr, how: How) -> Self {
        let context = browser.call("Target.createBrowserContext", &json!({}));
        let blank = json!({"url": "about:blank", "browserContextId": context["browserContextId"]});
        let target = browser.call("Target.createTarget", &blank);
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let session = browser.call("Target.attachToTarget", &attach)["sessionId"].clone();
        let mut tab = Self {
            browser,
            session: session.as_str().unwrap().to_owned(),
            origin: format!("http://{address}"),
            credentials: how
                .credentials
                .map(|(name, word)| (name.to_owned(), word.to_owned())),
            loaded: Vec::new(),
            status: 0,
            requests: Vec::new(),
            strangers: Vec::new(),
            dialogs: Vec::new(),
            complaints: Vec::new(),
        };
        for domain in ["Page", "Runtime", "Log", "Network"] {
            tab.call(&format!("{domain}.enable"), &json!({}));
        }
        tab.call("Page.setLifecycleEventsEnabled", &json!({"enabled": true}));
        tab.call("Fetch.enable", &json!({"handleAuthRequests": true}));
        tab.call("Page.setBypassCSP", &json!({"enabled": how.without_policy}));
        let size =
            json!({"width": how.width, "height": 900, "deviceScaleFactor": 1, "mobile": false});
        tab.call("Emulation.setDeviceMetricsOverride", &size);
        let url = format!("{}/", tab.origin);
        let navigated = tab.call("Page.navigate", &json!({"url": url}));
        assert_eq!(navigated["errorText"], Value::Null);
        let end = Browser::deadline();
        while tab.status == 0 || !tab.loaded.contains(&navigated["loaderId"]) {
            tab.take_next(end);
        }
        tab.watch();
        tab
    }

    /// Lets time pass in the page, for what must not happen.
    pub(crate) fn watch(&mut self) {
        self.pass(WATCHED_MILLISECONDS);
    }

    /// Lets time pass in the page until what must happen has.
    #[track_caller]
    pub(crate) fn until(&mut self, what: &str, mut is_so: impl FnMut(&mut Self) -> bool) {
        let end = Browser::deadline();
        while !is_so(self) {
            assert!(
                Instant::now() < end,
                "never: {what}: {:?} {:?} {:?}",
                self.strangers,
                self.dialogs,
                self.complaints
            );
            self.pass(50);
        }
    }

    fn pass(&mut self, milliseconds: u64) {
        let wait = format!("new Promise(done => setTimeout(done, {milliseconds}))");
        self.evaluate(&wait);
    }

    /// The value of an expression of ours in the page; its policy does not stop us.
    pub(crate) fn evaluate(&mut self, expression: &str) -> Value {
        let ask = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let answer = self.call("Runtime.evaluate", &ask);
        assert_eq!(answer["exceptionDetails"], Value::Null, "{expression}");
        answer["result"]["value"].clone()
    }

    /// Shows it to somebody who prefers a light or a dark ground.
    pub(crate) fn prefer(&mut self, scheme: &str) {
        let feature = json!({"name": "prefers-color-scheme", "value": scheme});
        self.call(
            "Emulation.setEmulatedMedia",
            &json!({"features": [feature]}),
        );
    }

    /// Writes what it looks like, for people.
    pub(crate) fn picture(&mut self, file: &Path) {
        let ask = json!({"captureBeyondViewport": true});
        let picture = self.call("Page.captureScreenshot", &ask);
        let png = STANDARD.decode(picture["data"].as_str().unwrap()).unwrap();
        std::fs::write(file, png).unwrap();
    }

    fn call(&mut self, method: &str, params: &Value) -> Value {
        let id = self.browser.send(Some(&self.session), method, params);
        let end = Browser::deadline();
        loop {
            let message = self.take_next(end);
            if message["id"] == id {
                assert_eq!(message["error"], Value::Null, "{method}");
                return message["result"].clone();
            }
        }
    }

    fn take_next(&mut self, end: Instant) -> Value {
        let message = self.browser.next(end);
        if message["sessionId"] == *self.session {
            self.note(&message);
        }
        message
    }

    fn note(&mut self, message: &Value) {
        let event = &message["params"];
        match message["method"].as_str().unwrap_or_default() {
            "Page.lifecycleEvent" if event["name"] == "load" => {
                self.loaded.push(event["loaderId"].clone());
            }
            "Page.javascriptDialogOpening" => {
                self.dialogs.push(event["message"].to_string());
                self.reply("Page.handleJavaScriptDialog", &json!({"accept": true}));
            }
            "Runtime.consoleAPICalled" => self.complaints.push(event["args"].to_string()),
            "Runtime.exceptionThrown" => {
                self.complaints.push(event["exceptionDetails"].to_string());
            }
            "Log.entryAdded" => self.complaints.push(event["entry"]["text"].to_string()),
            "Network.responseReceived" if event["type"] == "Document" => {
                self.status = event["response"]["status"].as_u64().unwrap();
            }
            "Fetch.requestPaused" => self.admit(event),
            "Fetch.authRequired" => self.authenticate(event),
            _ => {}
        }
    }

    /// Lets a request through to where the page came from, and nowhere else.
    fn admit(&mut self, event: &Value) {
        let url = event["request"]["url"].as_str().unwrap();
        let id = &event["requestId"];
        let Some(path) = url
            .strip_prefix(&self.origin)
            .filter(|p| p.starts_with('/'))
        else {
            self.strangers.push(url.to_owned());
            let refuse = json!({"requestId": id, "errorReason": "BlockedByClient"});
            return self.reply("Fetch.failRequest", &refuse);
        };
        if !self.requests.iter().any(|known| known == path) {
            self.requests.push(path.to_owned());
        }
        self.reply("Fetch.continueRequest", &json!({"requestId": id}));
    }

    /// Says who we are, once; asked again, it was wrong.
    fn authenticate(&mut self, event: &Value) {
        let answer = match self.credentials.take() {
            Some((name, word)) => {
                json!({"response": "ProvideCredentials", "username": name, "password": word})
            }
            None => json!({"response": "CancelAuth"}),
        };
        let answer = json!({"requestId": event["requestId"], "authChallengeResponse": answer});
        self.reply("Fetch.continueWithAuth", &answer);
    }

    /// A command whose answer does not matter: a page that is going away may not have one.
    fn reply(&mut self, method: &str, params: &Value) {
        self.browser.send(Some(&self.session), method, params);
    }
}
