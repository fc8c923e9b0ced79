"use strict";

// Everything is there: show what the address asks for.
parts.push(showPlace);
showView();
