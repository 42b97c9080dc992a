"""Who may come in: one gate around each web application, the same for pages and read API.

It stands on this floor because it knows both applications, which do not know each other, and because it needs what lies
below both: tokens, sessions and failed logins are SQL (``store``), the login page is a page (``dashboards``). The
applications do not check who asks. The gate does, before they see the request, and leaves a `store.readers.Reader` in
its scope; a route that was forgotten is thus behind the gate like every other.

On loopback the gate is open to whoever is on this machine (`gate.OpenGate`). On every other address it is locked
(`gate.LockedGate`): `listening` refuses to serve there without TLS and users.
"""
