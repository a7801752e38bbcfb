// Forms that ask for a passkey. The form's data-options are the options of the browser's API, with binary values in
// base64url; the answer goes into its field "response", and the form is sent. Without this script such forms stay hidden.
"use strict";

(() => {
  const bytes = (text) => {
    const padded = text.replace(/-/g, "+").replace(/_/g, "/");
    return Uint8Array.from(atob(padded), (char) => char.charCodeAt(0));
  };
  const text = (buffer) =>
    btoa(String.fromCharCode(...new Uint8Array(buffer))).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
  const described = (list) => (list || []).map((each) => ({ ...each, id: bytes(each.id) }));

  const create = async (options) => {
    const made = await navigator.credentials.create({
      publicKey: {
        ...options,
        challenge: bytes(options.challenge),
        user: { ...options.user, id: bytes(options.user.id) },
        excludeCredentials: described(options.excludeCredentials),
      },
    });
    const { response } = made;
    return {
      id: made.id,
      rawId: text(made.rawId),
      type: made.type,
      response: {
        clientDataJSON: text(response.clientDataJSON),
        attestationObject: text(response.attestationObject),
        transports: response.getTransports ? response.getTransports() : [],
      },
    };
  };

  const get = async (options, more = {}) => {
    const used = await navigator.credentials.get({
      ...more,
      publicKey: {
        ...options,
        challenge: bytes(options.challenge),
        allowCredentials: described(options.allowCredentials),
      },
    });
    const { response } = used;
    return {
      id: used.id,
      rawId: text(used.rawId),
      type: used.type,
      response: {
        clientDataJSON: text(response.clientDataJSON),
        authenticatorData: text(response.authenticatorData),
        signature: text(response.signature),
        ...(response.userHandle && response.userHandle.byteLength ? { userHandle: text(response.userHandle) } : {}),
      },
    };
  };

  if (!window.PublicKeyCredential) return;
  for (const form of document.querySelectorAll("form[data-options]")) {
    form.hidden = false;
    const problem = form.querySelector("[data-problem]");
    const options = JSON.parse(form.dataset.options);
    const send = (answer) => {
      form.elements.namedItem("response").value = JSON.stringify(answer);
      form.submit();
    };
    const waiting = new AbortController();
    if ("autofill" in form.dataset && PublicKeyCredential.isConditionalMediationAvailable) {
      // The browser offers the passkey at the field of the user name. Nothing is said when nobody takes it.
      PublicKeyCredential.isConditionalMediationAvailable()
        .then((available) => available && get(options, { mediation: "conditional", signal: waiting.signal }).then(send))
        .catch(() => {});
    }
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      waiting.abort();
      problem.hidden = true;
      try {
        send(await (options.rp ? create(options) : get(options)));
      } catch (error) {
        problem.textContent = `The browser did not use a passkey (${error.name}). Try again.`;
        problem.hidden = false;
      }
    });
  }
})();
