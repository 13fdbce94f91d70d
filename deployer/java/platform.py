"""Which classes outside of an application are Serializable: those of the Java platform and of the Servlet API. Pure.

The table was read from JDK 17 (public classes and interfaces of java.base and java.sql). It changes slowly, and what
it does not know counts as unknown, never as a fault.
"""

from __future__ import annotations

_TABLE = {
    "java/lang": """
        Boolean Byte Character Class Double Enum Float Integer Long Number RuntimePermission Short
        StackTraceElement String StringBuffer StringBuilder
    """,
    "java/util": """
        AbstractMap$SimpleEntry AbstractMap$SimpleImmutableEntry ArrayDeque ArrayList BitSet Calendar
        Currency Date EnumMap EnumSet EventObject GregorianCalendar HashMap HashSet Hashtable
        IdentityHashMap LinkedHashMap LinkedHashSet LinkedList Locale Locale$IsoCountryCode PriorityQueue
        Properties PropertyPermission Random SimpleTimeZone Stack TimeZone TreeMap TreeSet UUID Vector
    """,
    "java/util/concurrent": """
        ArrayBlockingQueue ConcurrentHashMap ConcurrentHashMap$KeySetView ConcurrentLinkedDeque
        ConcurrentLinkedQueue ConcurrentSkipListMap ConcurrentSkipListSet CopyOnWriteArrayList
        CopyOnWriteArraySet CountedCompleter ForkJoinTask LinkedBlockingDeque LinkedBlockingQueue
        LinkedTransferQueue PriorityBlockingQueue RecursiveAction RecursiveTask Semaphore SynchronousQueue
        ThreadLocalRandom TimeUnit
    """,
    "java/util/concurrent/atomic": """
        AtomicBoolean AtomicInteger AtomicIntegerArray AtomicLong AtomicLongArray AtomicReference
        AtomicReferenceArray DoubleAccumulator DoubleAdder LongAccumulator LongAdder
    """,
    "java/util/concurrent/locks": """
        AbstractOwnableSynchronizer AbstractQueuedLongSynchronizer AbstractQueuedSynchronizer ReentrantLock
        ReentrantReadWriteLock ReentrantReadWriteLock$ReadLock ReentrantReadWriteLock$WriteLock StampedLock
    """,
    "java/util/regex": "Pattern",
    "java/io": "Externalizable File FilePermission ObjectStreamClass Serializable SerializablePermission",
    "java/math": "BigDecimal BigInteger MathContext RoundingMode",
    "java/text": """
        AttributedCharacterIterator$Attribute ChoiceFormat CompactNumberFormat DateFormat DateFormat$Field
        DateFormatSymbols DecimalFormat DecimalFormatSymbols Format Format$Field MessageFormat
        MessageFormat$Field NumberFormat NumberFormat$Field SimpleDateFormat
    """,
    "java/time": """
        DayOfWeek Duration Instant LocalDate LocalDateTime LocalTime Month MonthDay OffsetDateTime
        OffsetTime Period Year YearMonth ZoneId ZoneOffset ZonedDateTime
    """,
    "java/sql": "ClientInfoStatus Date JDBCType PseudoColumnUsage RowIdLifetime SQLPermission Time Timestamp",
    "java/net": """
        Inet4Address Inet6Address InetAddress InetSocketAddress NetPermission SocketAddress SocketPermission
        StandardProtocolFamily URI URL URLPermission UnixDomainSocketAddress
    """,
}
_SERIALIZABLE = frozenset(f"{package}/{name}" for package, names in _TABLE.items() for name in names.split()) | {
    f"{api}/servlet/{name}" for api in ("javax", "jakarta") for name in ("GenericServlet", "http/HttpServlet")
}

NEVER = frozenset(
    [
        "java/lang/Thread",
        "java/lang/ThreadLocal",
        "java/lang/ClassLoader",
        "java/lang/Process",
        "java/util/Scanner",
        "java/util/Timer",
        "java/util/Optional",
        "java/util/OptionalInt",
        "java/util/OptionalLong",
        "java/util/OptionalDouble",
        "java/util/stream/Stream",
        "java/util/concurrent/ExecutorService",
        "java/util/concurrent/CountDownLatch",
        "java/util/concurrent/CompletableFuture",
        "java/util/logging/Logger",
        "java/time/format/DateTimeFormatter",
        "java/io/InputStream",
        "java/io/OutputStream",
        "java/io/Reader",
        "java/io/Writer",
        "java/net/Socket",
        "java/sql/Connection",
        "java/sql/Statement",
        "java/sql/PreparedStatement",
        "java/sql/ResultSet",
    ]
) | {
    f"{api}/servlet/{name}"
    for api in ("javax", "jakarta")
    for name in (
        "ServletContext",
        "ServletRequest",
        "ServletResponse",
        "http/HttpServletRequest",
        "http/HttpServletResponse",
        "http/HttpSession",
    )
}
"""Types whose objects Java cannot serialise, whatever subclass they are of."""

FIXED = frozenset(
    f"java/{name}"
    for name in [
        "lang/Boolean",
        "lang/Byte",
        "lang/Character",
        "lang/Double",
        "lang/Float",
        "lang/Integer",
        "lang/Long",
        "lang/Short",
        "lang/String",
        "math/BigDecimal",
        "math/BigInteger",
        "util/UUID",
        "util/Locale",
        "util/Currency",
        "net/URI",
        "net/URL",
        "time/Duration",
        "time/Instant",
        "time/LocalDate",
        "time/LocalDateTime",
        "time/LocalTime",
        "time/OffsetDateTime",
        "time/Period",
        "time/Year",
        "time/ZonedDateTime",
    ]
)
"""Classes of which no object is also of another in this set: such a field's value fits no other of these."""


def serializable(name: str) -> bool | None:
    """Whether a class or interface outside of the application is Serializable; None when that is not known."""
    package, _, simple = name.rpartition("/")
    if name in _SERIALIZABLE:
        return True
    if package in _TABLE:
        if simple.endswith(("Exception", "Error")) or simple == "Throwable":
            return True
        return None if "$" in simple else False
    return None
