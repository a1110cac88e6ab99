"""At home in web frameworks: one module each, loaded by those who use it."""
