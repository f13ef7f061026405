//! The update rules, from the meta-trained parameters every tick, and the gate that may refuse one.
