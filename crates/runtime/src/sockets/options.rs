//! Options of sockets, which both generations read and set alike, each under names of its own.

/// Functions of an `impl`, in pairs: one reads an option of the socket that `$find` finds, one sets it to
/// what must not be zero.
macro_rules! options {
    ($socket:ty, $find:ident: $($get:ident $set:ident $field:ident: $type:ty;)*) => {$(
        fn $get(&mut self, this: Resource<$socket>) -> SocketResult<$type> {
            Ok(self.$find(&this)?.options().$field)
        }

        fn $set(&mut self, this: Resource<$socket>, value: $type) -> SocketResult<()> {
            let value = positive(value)?;
            self.$find(&this)?.change(|options| options.$field = value);
            Ok(())
        }
    )*};
}

pub(super) use options;
