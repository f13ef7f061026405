//! observe -> adapt -> plan -> guard: one pure step of the loop.
