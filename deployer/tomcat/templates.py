"""The text of an instance's files, with `str.format` places; layout.py escapes what fills a place."""

from __future__ import annotations

# The control service is listed first, so that it answers while the application still starts.
# Http11NioProtocol is named so that APR, where it is installed, does not change what was measured.
# bindOnInit=false: the HTTP port opens after the contexts have started and the session state has arrived.
# throwOnFailure: a taken port ends the JVM; without it the JVM lives on and a probe talks to a stranger.
# keepAliveTimeout is longer than the proxy's idle time, so that the proxy always closes first.
# maxSwallowSize=-1: a refused upload is read to its end, so that the client gets the answer and not a reset.
# internalProxies: the default believes a forged X-Forwarded-For from any private address.
SERVER = """<?xml version="1.0" encoding="UTF-8"?>
<Server port="-1">
  <Listener className="org.apache.catalina.core.JreMemoryLeakPreventionListener"/>
  <Listener className="org.apache.catalina.core.ThreadLocalLeakPreventionListener"/>
  <Service name="control">
    <Connector address={address} port={control_port} protocol="org.apache.coyote.http11.Http11NioProtocol"
               maxThreads="4" minSpareThreads="1" keepAliveTimeout="1000" throwOnFailure="true"/>
    <Engine name="control" defaultHost="control">
      <Realm className="org.apache.catalina.realm.MemoryRealm" pathname="conf/control-users.xml"/>
      <Host name="control" appBase="control-apps" autoDeploy="false" deployOnStartup="false" deployXML="false"
            createDirs="false">
        <Context path="" docBase="${{catalina.base}}/control" privileged="true" override="true">
          <JarScanner scanClassPath="false" scanManifest="false"/>
          <Manager className="org.apache.catalina.session.StandardManager" pathname=""/>
          <Valve className="org.apache.catalina.valves.RemoteCIDRValve" allow="127.0.0.0/8"/>
        </Context>
      </Host>
    </Engine>
  </Service>
  <Service name="Catalina" gracefulStopAwaitMillis={graceful}>
    <Connector address={address} port={http_port} protocol="org.apache.coyote.http11.Http11NioProtocol"
               bindOnInit="false" throwOnFailure="true" connectionTimeout="20000"
               keepAliveTimeout="75000" maxKeepAliveRequests="-1"
               maxThreads="200" minSpareThreads="4" acceptCount="200" maxHttpHeaderSize="32768"
               maxParameterCount="1000" maxSwallowSize="-1" allowTrace="false" enableLookups="false"/>
    <Engine name="Catalina" defaultHost="localhost">{cluster}
      <Host name="localhost" appBase="webapps" unpackWARs="true" autoDeploy="false" deployOnStartup="true"
            deployXML="false" failCtxIfServletStartFails="true">
        <Valve className="org.apache.catalina.valves.RemoteIpValve"
               internalProxies="127\\.\\d{{1,3}}\\.\\d{{1,3}}\\.\\d{{1,3}}|0:0:0:0:0:0:0:1|::1"
               remoteIpHeader="X-Forwarded-For" protocolHeader="X-Forwarded-Proto"
               portHeader="X-Forwarded-Port" hostHeader="X-Forwarded-Host" changeLocalName="false"/>
        <Valve className="org.apache.catalina.valves.AccessLogValve"
               directory="logs" prefix="access" suffix=".log" rotatable="true" maxDays="7"
               requestAttributesEnabled="true"
               pattern="%h %t &quot;%r&quot; %s %b %D"/>
        <Valve className="org.apache.catalina.valves.ErrorReportValve"
               showReport="false" showServerInfo="false"/>
      </Host>
    </Engine>
  </Service>
</Server>
"""

# channelSendOptions=6: synchronous with acknowledgement. The default, asynchronous, gave 133 stale sessions
# of 500 when requests alternated between two instances; 6 gave none.
# channelStartOptions=3: receiver and sender, no multicast.
# EncryptInterceptor: Tribes deserialises whatever a local user sends to its port.
# performReadTest: a frozen peer stalls only the first session write.
CLUSTER = """
      <Cluster className="org.apache.catalina.ha.tcp.SimpleTcpCluster"
               channelSendOptions="6" channelStartOptions="3">
        <Channel className="org.apache.catalina.tribes.group.GroupChannel" heartbeatSleeptime="1000">
          <Receiver className="org.apache.catalina.tribes.transport.nio.NioReceiver"
                    address={address} port={port} autoBind="0" maxThreads="6"/>
          <Sender className="org.apache.catalina.tribes.transport.ReplicationTransmitter">
            <Transport className="org.apache.catalina.tribes.transport.nio.PooledParallelSender"
                       timeout="1000" maxRetryAttempts="1"/>
          </Sender>
          <Interceptor className="org.apache.catalina.tribes.group.interceptors.TcpPingInterceptor"
                       interval="1000" staticOnly="true"/>
          <Interceptor className="org.apache.catalina.tribes.group.interceptors.EncryptInterceptor"
                       encryptionAlgorithm="AES/GCM/NoPadding" encryptionKey={key}/>
          <Interceptor className="org.apache.catalina.tribes.group.interceptors.TcpFailureDetector"
                       performReadTest="true" readTestTimeout="500" connectTimeout="500"/>
          <Interceptor className="org.apache.catalina.tribes.group.interceptors.MessageDispatchInterceptor"/>
          <Interceptor className="org.apache.catalina.tribes.group.interceptors.StaticMembershipInterceptor">
            <LocalMember className="org.apache.catalina.tribes.membership.StaticMember" domain="switchyard"
                         uniqueId={unique_id}/>{members}
          </Interceptor>
        </Channel>
        <Valve className="org.apache.catalina.ha.tcp.ReplicationValve" filter=""/>
        <ClusterListener className="org.apache.catalina.ha.session.ClusterSessionListener"/>
      </Cluster>"""

MEMBER = """
            <Member className="org.apache.catalina.tribes.membership.StaticMember" host={address} port={port}
                    domain="switchyard" uniqueId={unique_id}/>"""

CONTEXT = """<?xml version="1.0" encoding="UTF-8"?>
<Context>
  <JarScanner scanClassPath="false" scanManifest="false"/>{manager}
</Context>
"""

# sendAllSessionsSize=1: with the default, five sessions whose class had changed made 58 of 60 disappear while
# Tomcat logged success; one session a message loses only those five. 2,000 sessions take 1.2 s so.
DELTA_MANAGER = """
  <Manager className="org.apache.catalina.ha.session.DeltaManager" expireSessionsOnShutdown="false"
           notifyListenersOnReplication="true" notifySessionListenersOnReplication="false"
           stateTransferTimeout="30"
           sendAllSessions="false" sendAllSessionsSize="1" sendAllSessionsWaitTime="0"/>"""

LOGGING = """handlers = java.util.logging.ConsoleHandler
.handlers = java.util.logging.ConsoleHandler
java.util.logging.ConsoleHandler.level = ALL
java.util.logging.ConsoleHandler.formatter = org.apache.juli.OneLineFormatter
java.util.logging.ConsoleHandler.encoding = UTF-8
"""

CONTROL_USERS = """<?xml version="1.0" encoding="UTF-8"?>
<tomcat-users>
  <role rolename="control"/>
  <user username={user} password={password} roles="control"/>
</tomcat-users>
"""

_CONTROL_WEB_BODY = """
  <servlet>
    <servlet-name>jmx</servlet-name>
    <servlet-class>org.apache.catalina.manager.JMXProxyServlet</servlet-class>
  </servlet>
  <servlet-mapping><servlet-name>jmx</servlet-name><url-pattern>/jmx/*</url-pattern></servlet-mapping>
  <security-constraint>
    <web-resource-collection>
      <web-resource-name>all</web-resource-name><url-pattern>/*</url-pattern>
    </web-resource-collection>
    <auth-constraint><role-name>control</role-name></auth-constraint>
  </security-constraint>
  <login-config><auth-method>BASIC</auth-method></login-config>
  <security-role><role-name>control</role-name></security-role>
</web-app>
"""

CONTROL_WEB_9 = (
    '<?xml version="1.0" encoding="UTF-8"?>\n'
    '<web-app xmlns="http://xmlns.jcp.org/xml/ns/javaee" version="4.0" metadata-complete="true">' + _CONTROL_WEB_BODY
)

CONTROL_WEB_10 = (
    '<?xml version="1.0" encoding="UTF-8"?>\n'
    '<web-app xmlns="https://jakarta.ee/xml/ns/jakartaee" version="6.0" metadata-complete="true">' + _CONTROL_WEB_BODY
)
