import java.util.Arrays;

/**
 * Starts Beam's job server, whose main class and options are the arguments after the first.
 *
 * <p>The server takes the files of its own class path for what a job needs, whatever the job stages, and would send its
 * jar of 150 MB to every process of the cluster for every job. All of them have that jar; the property from which the
 * class path is read names the first argument instead, a jar with nothing in it.
 */
public final class JobServer {
  private JobServer() {}

  public static void main(String[] arguments) throws Exception {
    System.setProperty("java.class.path", arguments[0]);
    String[] others = Arrays.copyOfRange(arguments, 2, arguments.length);
    Class.forName(arguments[1]).getMethod("main", String[].class).invoke(null, (Object) others);
  }
}
