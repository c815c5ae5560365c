//! Compiles the `.proto` files in pure Rust: no `protoc` is needed on the machine.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=copydesk");
    let files = protox::compile(["copydesk/v1/record.proto"], ["."])?;
    prost_build::Config::new().bytes([".copydesk.v1.WebhookReceived.body"]).compile_fds(files)?;
    Ok(())
}
