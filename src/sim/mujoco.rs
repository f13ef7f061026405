//! MuJoCo, loaded at run time: the few functions that a simulated robot needs, behind three safe types.
//!
//! A [`Library`] compiles MJCF text to a [`Model`], which is immutable; [`Data`] is one simulation of a model. MuJoCo's own structs
//! stay opaque: state goes in and out through `mj_getState` and `mj_setState`, whose layout is the same from version 3.5 on.
//!
//! MuJoCo by itself writes a log file into the current folder and ends the process on an error. Here a warning raised by a step is
//! that step's error, and nothing is written.

use std::cell::RefCell;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::path::{Path, PathBuf};
use std::ptr::{self, NonNull};
use std::sync::{Arc, OnceLock};

use crate::native;

/// The environment variable that overrides where MuJoCo's library is looked for.
pub const PATH_VARIABLE: &str = "MUJOCO_DYLIB_PATH";

/// The oldest version whose functions and state layout are the ones used here.
const OLDEST: (u32, u32) = (3, 5);

/// Why MuJoCo, or a scene in it, cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The library is absent, or the loader refuses it.
    #[error(
        "MuJoCo's library cannot be loaded ({reason}): run `cargo xtask setup`, or set {PATH_VARIABLE}"
    )]
    Load {
        /// The loader's words, with the path that it tried.
        reason: String,
    },
    /// The file is a library, but not a MuJoCo of a supported version.
    #[error("{} is not MuJoCo {}.{} or newer ({found}): run `cargo xtask setup`, or set {PATH_VARIABLE}", path.display(), OLDEST.0, OLDEST.1)]
    Unsupported {
        /// The library's path.
        path: PathBuf,
        /// Its version, or the function that it lacks.
        found: String,
    },
    /// MuJoCo refuses the scene.
    #[error("MuJoCo refuses the scene: {0}")]
    Scene(String),
    /// MuJoCo has no memory for a simulation.
    #[error("MuJoCo has no memory for another simulation of this scene")]
    Memory,
    /// A step raised a warning, so that its result is not to be trusted.
    #[error("the simulation became unstable: {0}")]
    Unstable(String),
}

/// Kinds of named things in a model (`mjtObj`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
pub enum Object {
    /// A joint.
    Joint = 3,
    /// An actuator.
    Actuator = 19,
}

/// Parts of a simulation's state (`mjtState`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
pub enum Part {
    /// The simulated time, in seconds; length 1.
    Time = 1 << 0,
    /// The generalised positions; length nq.
    Positions = 1 << 1,
    /// The generalised velocities; length nv.
    Velocities = 1 << 2,
    /// The actuators' inputs; length nu.
    Controls = 1 << 6,
    /// All that the next step depends on (`mjSTATE_INTEGRATION`): a simulation restored from it continues bit for bit.
    Integration = 0x3fff,
}

macro_rules! functions {
    ($($name:ident($($argument:ty),*) $(-> $result:ty)?;)*) => {
        #[expect(non_snake_case, reason = "MuJoCo's own names")]
        /// The functions' addresses; valid as long as the library stays loaded.
        struct Functions { $($name: unsafe extern "C" fn($($argument),*) $(-> $result)?,)* }

        impl Functions {
            /// Looks every function up.
            ///
            /// # Safety
            ///
            /// The library must be a MuJoCo whose functions have the signatures declared here.
            unsafe fn look_up(library: &libloading::Library) -> Result<Self, libloading::Error> {
                // SAFETY: the caller vouches for the signatures.
                unsafe { Ok(Self { $($name: *library.get(stringify!($name))?,)* }) }
            }
        }
    };
}

functions! {
    mj_parseXMLString(*const c_char, *const c_void, *mut c_char, c_int) -> *mut c_void;
    mj_compile(*mut c_void, *const c_void) -> *mut c_void;
    mjs_getError(*mut c_void) -> *const c_char;
    mj_deleteSpec(*mut c_void);
    mj_deleteModel(*mut c_void);
    mj_deleteData(*mut c_void);
    mj_makeData(*const c_void) -> *mut c_void;
    mj_step(*const c_void, *mut c_void);
    mj_stateSize(*const c_void, c_int) -> c_int;
    mj_getState(*const c_void, *const c_void, *mut f64, c_int);
    mj_setState(*const c_void, *mut c_void, *const f64, c_int);
    mj_name2id(*const c_void, c_int, *const c_char) -> c_int;
}

/// MuJoCo's library, loaded once in a process and never unloaded.
pub struct Library {
    functions: Functions,
    version: String,
    _library: libloading::Library,
}

impl Library {
    /// The process's MuJoCo, loaded on the first call from where [`native::find`] finds it.
    ///
    /// # Errors
    ///
    /// [`Error::Load`] or [`Error::Unsupported`]; a later call tries again.
    pub fn load() -> Result<&'static Self, Error> {
        static LOADED: OnceLock<Library> = OnceLock::new();
        match LOADED.get() {
            Some(library) => Ok(library),
            None => {
                let library = Self::open(&native::find(PATH_VARIABLE, "mujoco"))?;
                Ok(LOADED.get_or_init(|| library))
            }
        }
    }

    fn open(path: &Path) -> Result<Self, Error> {
        let unsupported = |found: String| Error::Unsupported {
            path: path.into(),
            found,
        };
        let lacks = |error| unsupported(reason(error));
        // SAFETY: MuJoCo's initialisers have no preconditions.
        let library = unsafe { libloading::Library::new(path) }.map_err(|error| Error::Load {
            reason: reason(error),
        })?;
        // SAFETY: the function takes nothing and returns a static string in every version of MuJoCo.
        let version = unsafe {
            let version: libloading::Symbol<unsafe extern "C" fn() -> *const c_char> =
                library.get("mj_versionString").map_err(lacks)?;
            text(version())
        };
        if !is_supported(&version) {
            return Err(unsupported(format!("it is version {version}")));
        }
        // SAFETY: the version has been checked, and the signatures are that version's.
        let functions = unsafe { Functions::look_up(&library) }.map_err(lacks)?;
        // SAFETY: both are global variables of this type, read by MuJoCo alone, and no MuJoCo function runs during this call
        // unless another thread is in it with the same handlers already set.
        unsafe {
            **library
                .get::<*mut Handler>("mju_user_warning")
                .map_err(lacks)? = Some(on_warning);
            **library
                .get::<*mut Handler>("mju_user_error")
                .map_err(lacks)? = Some(on_error);
        }
        Ok(Self {
            functions,
            version,
            _library: library,
        })
    }

    /// MuJoCo's version, such as `3.17.0`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Compiles MJCF text. The text must stand alone: files that it names are not looked for.
    ///
    /// # Errors
    ///
    /// [`Error::Scene`] with MuJoCo's own words, which name the element and the line.
    pub fn compile(&'static self, mjcf: &str) -> Result<Model, Error> {
        let mjcf =
            CString::new(mjcf).map_err(|_| Error::Scene("the text contains a zero byte".into()))?;
        let mut message = [0; 1024];
        let f = &self.functions;
        // SAFETY: the text and the buffer outlive the call, the buffer's length is its own, and no file system is given.
        let spec = unsafe {
            (f.mj_parseXMLString)(
                mjcf.as_ptr(),
                ptr::null(),
                message.as_mut_ptr(),
                message.len() as c_int,
            )
        };
        if spec.is_null() {
            // SAFETY: MuJoCo ends the message within the buffer, which was zero before.
            return Err(Error::Scene(unsafe { text(message.as_ptr()) }));
        }
        // SAFETY: the spec is valid until it is deleted, once, after its error has been copied; the model does not borrow from it.
        let compiled = unsafe {
            let model = (f.mj_compile)(spec, ptr::null());
            let compiled =
                NonNull::new(model).ok_or_else(|| Error::Scene(text((f.mjs_getError)(spec))));
            (f.mj_deleteSpec)(spec);
            compiled
        };
        Ok(Model {
            library: self,
            pointer: compiled?,
        })
    }
}

/// A compiled scene. It is never changed after compilation, so threads may share it.
pub struct Model {
    library: &'static Library,
    pointer: NonNull<c_void>,
}

// SAFETY: nothing here writes to an `mjModel` after compilation, and MuJoCo's functions take it as const.
unsafe impl Send for Model {}
// SAFETY: as above.
unsafe impl Sync for Model {}

impl Model {
    /// The number of `f64` in a part of the state.
    pub fn size(&self, part: Part) -> usize {
        // SAFETY: the model is valid, and every `Part` is a valid signature.
        let size =
            unsafe { (self.library.functions.mj_stateSize)(self.pointer.as_ptr(), part as c_int) };
        usize::try_from(size).unwrap_or(0)
    }

    /// The index of a named object among its kind, if the model has it.
    pub fn index(&self, kind: Object, name: &str) -> Option<usize> {
        let name = CString::new(name).ok()?;
        // SAFETY: the model is valid and the name outlives the call.
        let id = unsafe {
            (self.library.functions.mj_name2id)(self.pointer.as_ptr(), kind as c_int, name.as_ptr())
        };
        usize::try_from(id).ok()
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        // SAFETY: the pointer came from `mj_compile` and is deleted once; every `Data` keeps its model alive.
        unsafe { (self.library.functions.mj_deleteModel)(self.pointer.as_ptr()) }
    }
}

/// One simulation of a model.
pub struct Data {
    model: Arc<Model>,
    pointer: NonNull<c_void>,
}

// SAFETY: an `mjData` belongs to no thread; without `Sync` only one at a time can use it.
unsafe impl Send for Data {}

impl Data {
    /// A simulation at the scene's initial state and time zero.
    ///
    /// # Errors
    ///
    /// [`Error::Memory`].
    pub fn new(model: Arc<Model>) -> Result<Self, Error> {
        // SAFETY: the model is valid, and stays so as long as the data, which holds it.
        let pointer = unsafe { (model.library.functions.mj_makeData)(model.pointer.as_ptr()) };
        let pointer = NonNull::new(pointer).ok_or(Error::Memory)?;
        Ok(Self { model, pointer })
    }

    /// The model that is simulated.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Advances the simulation by the scene's time step.
    ///
    /// # Errors
    ///
    /// [`Error::Unstable`] with MuJoCo's warning. MuJoCo gives each kind of warning once a simulation, so the caller must not go
    /// on after the first.
    pub fn step(&mut self) -> Result<(), Error> {
        WARNING.take();
        // SAFETY: the data was made for this model, and is borrowed mutably.
        unsafe {
            (self.model.library.functions.mj_step)(
                self.model.pointer.as_ptr(),
                self.pointer.as_ptr(),
            )
        };
        WARNING
            .take()
            .map_or(Ok(()), |warning| Err(Error::Unstable(warning)))
    }

    /// Copies a part of the state out.
    ///
    /// # Panics
    ///
    /// If the slice's length is not the part's [size](Model::size).
    pub fn get(&self, part: Part, state: &mut [f64]) {
        assert_eq!(state.len(), self.model.size(part), "length of {part:?}");
        let f = &self.model.library.functions;
        // SAFETY: the data was made for this model, and the slice is as long as MuJoCo writes.
        unsafe {
            (f.mj_getState)(
                self.model.pointer.as_ptr(),
                self.pointer.as_ptr(),
                state.as_mut_ptr(),
                part as c_int,
            )
        }
    }

    /// Copies a part of the state in.
    ///
    /// # Panics
    ///
    /// If the slice's length is not the part's [size](Model::size).
    pub fn set(&mut self, part: Part, state: &[f64]) {
        assert_eq!(state.len(), self.model.size(part), "length of {part:?}");
        let f = &self.model.library.functions;
        // SAFETY: the data was made for this model and is borrowed mutably, and the slice is as long as MuJoCo reads.
        unsafe {
            (f.mj_setState)(
                self.model.pointer.as_ptr(),
                self.pointer.as_ptr(),
                state.as_ptr(),
                part as c_int,
            )
        }
    }
}

impl Drop for Data {
    fn drop(&mut self) {
        // SAFETY: the pointer came from `mj_makeData` and is deleted once.
        unsafe { (self.model.library.functions.mj_deleteData)(self.pointer.as_ptr()) }
    }
}

type Handler = Option<unsafe extern "C" fn(*const c_char)>;

thread_local! {
    /// The first warning since this thread's last look; MuJoCo calls the handler on the thread that steps.
    static WARNING: RefCell<Option<String>> = const { RefCell::new(None) };
}

unsafe extern "C" fn on_warning(message: *const c_char) {
    // SAFETY: MuJoCo passes a string that is valid during the call.
    let message = unsafe { text(message) };
    WARNING.with_borrow_mut(|warning| {
        warning.get_or_insert(message);
    });
}

/// MuJoCo calls this where it cannot go on (its memory is exhausted or its own invariants are broken), and requires it not to return.
unsafe extern "C" fn on_error(message: *const c_char) {
    // SAFETY: MuJoCo passes a string that is valid during the call.
    eprintln!("MuJoCo cannot go on: {}", unsafe { text(message) });
    std::process::abort()
}

/// An owned copy of a C string.
///
/// # Safety
///
/// The pointer must be null or point at a string that ends with a zero byte.
unsafe fn text(pointer: *const c_char) -> String {
    if pointer.is_null() {
        return String::new();
    }
    // SAFETY: the caller vouches for it.
    unsafe { CStr::from_ptr(pointer) }
        .to_string_lossy()
        .trim()
        .to_string()
}

/// The loader's own words, which name the file or the symbol.
fn reason(error: libloading::Error) -> String {
    std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string)
}

fn is_supported(version: &str) -> bool {
    let mut numbers = version.split('.').map(str::parse);
    matches!((numbers.next(), numbers.next()), (Some(Ok(major)), Some(Ok(minor))) if (major, minor) >= OLDEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PENDULUM: &str = r#"<mujoco><option><flag autoreset="disable"/></option><worldbody><body>
        <joint name="hinge" axis="0 1 0"/><geom size=".1" pos="0 0 -1"/></body></worldbody>
        <actuator><motor name="motor" joint="hinge"/></actuator></mujoco>"#;

    fn message(result: Result<impl Sized, Error>) -> String {
        result.err().expect("an error").to_string()
    }

    #[test]
    fn a_missing_library_says_how_to_get_it() {
        let message = message(Library::open(Path::new("/nowhere/libmujoco.so")));
        assert!(message.contains("/nowhere/libmujoco.so"), "{message}");
        assert!(
            message.contains("cargo xtask setup") && message.contains("MUJOCO_DYLIB_PATH"),
            "{message}"
        );
    }

    #[test]
    fn another_library_is_not_taken_for_mujoco() {
        let message = message(Library::open(Path::new("libc.so.6")));
        assert!(
            message.contains("libc.so.6 is not MuJoCo 3.5 or newer"),
            "{message}"
        );
    }

    #[test]
    fn versions_before_3_5_are_refused() {
        assert!(is_supported("3.5.0") && is_supported("3.17.0") && is_supported("4.0.0"));
        assert!(
            !is_supported("3.4.9")
                && !is_supported("2.3")
                && !is_supported("3")
                && !is_supported("new")
        );
    }

    #[test]
    fn state_goes_in_and_out_by_part() {
        let model = Arc::new(Library::load().unwrap().compile(PENDULUM).unwrap());
        assert_eq!(model.index(Object::Joint, "hinge"), Some(0));
        assert_eq!(model.index(Object::Actuator, "motor"), Some(0));
        assert_eq!(model.index(Object::Actuator, "hinge"), None);
        let mut data = Data::new(model).unwrap();
        data.set(Part::Positions, &[0.5]);
        data.step().unwrap();
        let (mut time, mut velocity) = ([0.0], [0.0]);
        data.get(Part::Time, &mut time);
        data.get(Part::Velocities, &mut velocity);
        assert_eq!(time, [0.002]);
        assert!(
            velocity[0] < 0.0,
            "gravity pulls the raised pendulum back: {velocity:?}"
        );
    }

    #[test]
    fn a_broken_scene_is_refused_in_mujocos_words() {
        let library = Library::load().unwrap();
        assert!(message(library.compile("<mujoco><worldbody></mujoco>")).contains("XML"));
        let unknown =
            message(library.compile(&PENDULUM.replace("joint=\"hinge\"", "joint=\"knee\"")));
        assert!(unknown.contains("knee"), "{unknown}");
    }

    #[test]
    fn a_state_that_is_not_a_number_is_an_error() {
        let model = Arc::new(Library::load().unwrap().compile(PENDULUM).unwrap());
        let mut data = Data::new(model).unwrap();
        data.set(Part::Velocities, &[f64::NAN]);
        assert!(message(data.step()).contains("unstable"));
        assert!(!Path::new("MUJOCO_LOG.TXT").exists());
    }
}
