// One node of OpenSearch, without the scripts of its distribution: settings come as name=value.
import java.nio.file.Path
import org.opensearch.common.settings.Settings
import org.opensearch.env.Environment
import org.opensearch.node.Node
import org.opensearch.transport.Netty4Plugin

def settings = Settings.builder()
args.each { def (name, value) = it.split('=', 2); settings.put(name, value) }
def built = settings.build()
def node = new Node(new Environment(built, Path.of(built.get('path.home'))), [Netty4Plugin], false) {}
Runtime.runtime.addShutdownHook(new Thread({ node.close() }))
node.start()
Thread.currentThread().join()
