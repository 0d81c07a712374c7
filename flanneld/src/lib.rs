pub mod options;
pub mod etcd;
pub mod udp;
