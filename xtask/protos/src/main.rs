//! Turns the .proto files of this repository into Rust code, committed beside them, without `protoc`.
//!
//! Run after editing a .proto: `cargo run --manifest-path xtask/protos/Cargo.toml`.

use std::error::Error;
use std::fs;
use std::path::Path;

use prost::Message;
use prost_build::{Config, Module};

/// One .proto and what becomes of it; paths from the root of the repository.
struct Proto {
    source: &'static str,
    code: &'static str,
    /// Whether its comments become rustdoc; a vendored file's indented text would be taken for tests.
    documented: bool,
    /// The FileDescriptorSet, for readers that learn the schema at run time.
    descriptors: Option<&'static str>,
}

const PROTOS: &[Proto] = &[
    Proto {
        source: "src/log/surefoot.proto",
        code: "src/log/schema.rs",
        documented: true,
        descriptors: Some("src/log/surefoot.fds"),
    },
    Proto {
        source: "onnx-grad/proto/onnx-ml.proto",
        code: "onnx-grad/src/proto/onnx.rs",
        documented: false,
        descriptors: None,
    },
];

fn main() -> Result<(), Box<dyn Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .expect("two folders down");
    for proto in PROTOS {
        generate(root, proto)?;
        println!("{} -> {}", proto.source, proto.code);
    }
    Ok(())
}

fn generate(root: &Path, proto: &Proto) -> Result<(), Box<dyn Error>> {
    let source = root.join(proto.source);
    let folder = source.parent().expect("a file has a folder");
    let mut set = protox::compile([&source], [folder])?;
    let requests = set
        .file
        .iter()
        .map(|file| {
            (
                Module::from_protobuf_package_name(file.package()),
                file.clone(),
            )
        })
        .collect();
    let mut config = Config::new();
    config.btree_map(["."]);
    if !proto.documented {
        config.disable_comments(["."]);
    }
    let code: String = config.generate(requests)?.into_values().collect();
    let name = proto.source.rsplit('/').next().unwrap_or(proto.source);
    fs::write(
        root.join(proto.code),
        format!("// Generated from {name} by xtask/protos. Do not edit.\n\n{code}"),
    )?;

    if let Some(path) = proto.descriptors {
        // Comments stay in the code; the descriptors travel in every log.
        set.file
            .iter_mut()
            .for_each(|file| file.source_code_info = None);
        fs::write(root.join(path), set.encode_to_vec())?;
    }
    Ok(())
}
