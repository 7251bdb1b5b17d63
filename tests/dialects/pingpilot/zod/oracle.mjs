// Prints, for each line of stdin, what zod says of the body that the line holds as a JSON string: one JSON string a
// line, "" for a good body. A body that JSON.parse refuses prints null.
import { createInterface } from "node:readline";
import { z } from "zod";

const schema = z
  .object({
    category: z
      .string()
      .min(1, "Category name is required.")
      .regex(/^[a-zA-Z0-9-]+$/, "Category name can only contain letters, numbers or hypens."),
    fields: z.record(z.string().or(z.number()).or(z.boolean())).optional(),
    description: z.string().optional(),
  })
  .strict();

function verdict(body) {
  let value;
  try {
    value = JSON.parse(body);
  } catch {
    return null;
  }
  const result = schema.safeParse(value);
  return result.success ? "" : result.error.message;
}

for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(JSON.stringify(verdict(JSON.parse(line))) + "\n");
}
