"""Sign-in by browser: proves who a person is and issues the session of the browser."""
