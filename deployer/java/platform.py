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

_NEVER = {
    "java/lang": "Thread ThreadLocal ClassLoader Process",
    "java/util": "Optional OptionalDouble OptionalInt OptionalLong Scanner Timer",
    "java/util/stream": "Stream",
    "java/util/concurrent": "CompletableFuture CountDownLatch ExecutorService",
    "java/util/logging": "Logger",
    "java/time/format": "DateTimeFormatter",
    "java/io": "InputStream OutputStream Reader Writer",
    "java/net": "Socket",
    "java/sql": "Connection PreparedStatement ResultSet Statement",
    "jakarta/servlet": "ServletContext ServletRequest ServletResponse",
    "jakarta/servlet/http": "HttpServletRequest HttpServletResponse HttpSession",
    "javax/servlet": "ServletContext ServletRequest ServletResponse",
    "javax/servlet/http": "HttpServletRequest HttpServletResponse HttpSession",
}
NEVER = frozenset(f"{package}/{name}" for package, names in _NEVER.items() for name in names.split())
"""Types whose objects Java cannot serialise, whatever subclass they are of."""

_FIXED = {
    "java/lang": "Boolean Byte Character Double Float Integer Long Short String",
    "java/math": "BigDecimal BigInteger",
    "java/util": "Currency Locale UUID",
    "java/net": "URI URL",
    "java/time": "Duration Instant LocalDate LocalDateTime LocalTime OffsetDateTime Period Year ZonedDateTime",
}
FIXED = frozenset(f"{package}/{name}" for package, names in _FIXED.items() for name in names.split())
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
