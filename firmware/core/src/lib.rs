//! The microcontroller logic: arming, command lifetime, limits, safe state.
