//! The real-time loop.
