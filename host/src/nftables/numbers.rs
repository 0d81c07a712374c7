//! The numbers of linux/netfilter/nf_tables.h: attributes by what they belong to, and the kinds of messages.

macro_rules! numbers {
    ($($(#[$about:meta])* $of:ident { $($name:ident = $number:literal),+ $(,)? })+) => {
        $($(#[$about])* pub(super) mod $of { $(pub const $name: u16 = $number;)+ })+
    };
}

numbers! {
    /// Kinds of messages: `enum nf_tables_msg_types`.
    message {
        NEWTABLE = 0, GETTABLE = 1, DELTABLE = 2, NEWCHAIN = 3, GETCHAIN = 4, DELCHAIN = 5, NEWRULE = 6,
        GETRULE = 7, DELRULE = 8, NEWSET = 9, GETSET = 10, DELSET = 11, NEWSETELEM = 12, GETSETELEM = 13,
        DELSETELEM = 14, NEWGEN = 15, GETGEN = 16, NEWOBJ = 18, GETOBJ = 19, DELOBJ = 20, GETOBJ_RESET = 21,
    }
    /// Every message about an object names its table first.
    any { TABLE = 1 }
    /// Of the mark at a batch's begin (linux/netfilter/nfnetlink.h).
    batch { GENERATION = 1 }
    generation { ID = 1, PID = 2, NAME = 3 }
    list { ELEM = 1 }

    table { FLAGS = 2, USERDATA = 6 }
    chain { NAME = 3, HOOK = 4, POLICY = 5, TYPE = 7, USERDATA = 12 }
    hook { NUMBER = 1, PRIORITY = 2 }
    rule { CHAIN = 2, HANDLE = 3, EXPRESSIONS = 4, POSITION = 6, USERDATA = 7 }
    set {
        NAME = 2, FLAGS = 3, KEY_TYPE = 4, KEY_LEN = 5, DATA_TYPE = 6, DATA_LEN = 7, DESC = 9, ID = 10,
        TIMEOUT = 11, USERDATA = 13, OBJ_TYPE = 15, EXPR = 17,
    }
    set_desc { SIZE = 1, CONCAT = 2, FIELD_LEN = 1 }
    elements { SET = 2, LIST = 3 }
    element {
        KEY = 1, DATA = 2, FLAGS = 3, TIMEOUT = 4, EXPIRATION = 5, USERDATA = 6, EXPR = 7, OBJREF = 9, KEY_END = 10,
    }
    object { NAME = 2, TYPE = 3, DATA = 4, USERDATA = 8 }

    data { VALUE = 1, VERDICT = 2 }
    verdict { CODE = 1, CHAIN = 2 }
    expr { NAME = 1, DATA = 2 }
    payload { DREG = 1, BASE = 2, OFFSET = 3, LEN = 4, SREG = 5 }
    meta { DREG = 1, KEY = 2, SREG = 3 }
    ct { DREG = 1, KEY = 2, DIRECTION = 3, SREG = 4 }
    fib { DREG = 1, RESULT = 2, FLAGS = 3 }
    numgen { DREG = 1, MODULUS = 2, TYPE = 3, OFFSET = 4 }
    hash { SREG = 1, DREG = 2, LEN = 3, MODULUS = 4, SEED = 5, OFFSET = 6, TYPE = 7 }
    bitwise { SREG = 1, DREG = 2, LEN = 3, MASK = 4, XOR = 5, OP = 6 }
    byteorder { SREG = 1, DREG = 2, OP = 3, LEN = 4, SIZE = 5 }
    immediate { DREG = 1, DATA = 2 }
    cmp { SREG = 1, OP = 2, DATA = 3 }
    range { SREG = 1, OP = 2, FROM = 3, TO = 4 }
    lookup { SET = 1, SREG = 2, DREG = 3, FLAGS = 5 }
    counter { BYTES = 1, PACKETS = 2 }
    objref { TYPE = 1, NAME = 2, SET_SREG = 3, SET_NAME = 4 }
    nat { TYPE = 1, FAMILY = 2, ADDR_MIN = 3, PROTO_MIN = 5, FLAGS = 7 }
    masq { FLAGS = 1, PROTO_MIN = 2 }
    redir { PROTO_MIN = 1, FLAGS = 3 }
    reject { TYPE = 1, CODE = 2 }
    dynset { SET = 1, OP = 3, KEY = 4, DATA = 5, TIMEOUT = 6, EXPR = 7, EXPRESSIONS = 10 }
    limit { RATE = 1, PER = 2, BURST = 3, TYPE = 4, FLAGS = 5 }
    log { GROUP = 1, PREFIX = 2, SNAPLEN = 3, LEVEL = 5, FLAGS = 6 }
}
