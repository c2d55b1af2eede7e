// Prints the lines of a VCF, or those of a region, as htsjdk reads them: contig, position, ALTs and the
// fields of read_vcfs.py, separated by tabs; the values of a field by the character 31.
//     java -cp JARS ReadVcf.java VCF [CONTIG FIRST LAST]
import htsjdk.variant.variantcontext.VariantContext;
import htsjdk.variant.vcf.VCFFileReader;
import java.io.File;
import java.util.Iterator;
import java.util.List;
import java.util.stream.Collectors;

public class ReadVcf {
    static final String[] FIELDS = {
        "status", "reason", "flags", "llr", "consequences", "gene", "transcript_strand", "spdi"};

    public static void main(String[] arguments) throws Exception {
        boolean hasRegion = arguments.length > 1;
        try (VCFFileReader reader = new VCFFileReader(new File(arguments[0]), hasRegion)) {
            Iterator<VariantContext> lines = hasRegion
                ? reader.query(arguments[1], Math.toIntExact(Long.parseLong(arguments[2])),
                    Math.toIntExact(Long.parseLong(arguments[3])))
                : reader.iterator();
            while (lines.hasNext()) {
                print(lines.next());
            }
        }
    }

    static void print(VariantContext line) {
        StringBuilder text = new StringBuilder(line.getContig() + "\t" + line.getStart() + "\t");
        text.append(line.getAlternateAlleles().stream().map(allele -> allele.getDisplayString())
            .collect(Collectors.joining(",")));
        for (String field : FIELDS) {
            Object value = line.getAttribute("evo2_" + field);
            text.append("\t");
            text.append(value instanceof List<?> list
                ? list.stream().map(String::valueOf).collect(Collectors.joining("\u001f"))
                : String.valueOf(value));
        }
        System.out.println(text);
    }
}
