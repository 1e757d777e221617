"""The words a synthetic district is made of: people's names, school names, street and job names.

Lists only. They are of varied origin on purpose: accents, hyphens, apostrophes, blanks and one comma must survive a
sync. Changing a list changes every sample.
"""

from __future__ import annotations


def _listed(text: str) -> tuple[str, ...]:
    """One name an item, separated by `;` or a line end."""
    return tuple(name.strip() for name in text.replace("\n", ";").split(";") if name.strip())


GIVEN = _listed("""
Aaliyah; Aaron; Abdul; Abigail; Adaeze; Adam; Adriana; Ahmed; Aiko; Aisha; Alan; Alejandra; Alejandro; Alex; Alice
Alicia; Amara; Amelia; Amir; Amit; Amy; Ana; Anahí; Ananya; André; Andrea; Angel; Anh; Anika; Anna; Anne-Marie
Anthony; Antonio; Anya; Aoife; Ariana; Arjun; Asha; Astrid; Ava; Ayana; Ayşe; Beatriz; Ben; Bianca; Björn; Brandon
Brianna; Brooklyn; Caleb; Camila; Carla; Carlos; Caroline; Cecilia; Chen; Chidi; Chloé; Chloe; Christian; Claire
Cody; Connor; D'Andre; Daisy; Daniel; Daniela; Darius; David; De'Andre; Deepa; Delilah; Destiny; Devon; Diego
Dina; Dmitri; Dominic; Dylan; Eduardo; Elena; Eli; Elijah; Élise; Ella; Emeka; Emily; Emma; Emmanuel; Eric
Esperanza; Esther; Ethan; Eva; Evelyn; Ezra; Fatima; Felipe; Fernando; Finn; Fiona; Francisco; François; Gabriel
Gabriela; Gael; George; Gia; Giovanni; Grace; Gráinne; Guadalupe; Hana; Hannah; Harper; Hassan; Haruto; Hector
Helena; Henry; Hiroshi; Hugo; Hye-jin; Ibrahim; Ifeoma; Imani; Inés; Ingrid; Isaac; Isabel; Isabella; Isaiah; Ivan
Jack; Jacob; Jada; Jamal; James; Jasmine; Javier; Jayden; Jean-Luc; Jennifer; Jeremiah; Jesús; Jin; Joanna
Joaquín; John; Jonah; Jordan; José; Joseph; Joshua; Juan; Julia; Julián; Kaito; Kamala; Karen; Katarzyna; Kayla
Keisha; Kenji; Kevin; Khadija; Khalil; Kiara; Kwame; Lakshmi; Lamar; Laura; Layla; Leah; Leila; Leo; León; Liam
Liliana; Lily; Linh; Logan; Lola; Lorenzo; Lucas; Lucía; Lucy; Luis; Luna; Mackenzie; Madison; Mai; Malik; Manuel
Marcus; Margaret; María; María José; Mariam; Marisol; Mark; Mary; Mason; Mateo; Matthew; Maya; Mei; Mei-Ling; Mia
Michael; Miguel; Mila; Minh; Miriam; Mohammed; Mónica; Nadia; Naomi; Natalia; Nathan; Nia; Nicolás; Nina; Noah
Noor; Nora; Nuno; Obinna; Olga; Oliver; Olivia; Omar; Oscar; Owen; Pablo; Paige; Parisa; Patrick; Paula; Pedro
Peter; Petra; Phoebe; Phuong; Priya; Quinn; Rachel; Rafael; Rahul; Ramón; Rania; Raúl; Rebecca; Renée; Ricardo
Riley; Roberto; Rohan; Rosa; Ruby; Ruth; Ryan; Sadie; Salma; Samantha; Samuel; Sana; Santiago; Sara; Sarah; Sasha
Sebastián; Selena; Seo-yeon; Shanice; Shreya; Siddharth; Simone; Siobhán; Sofía; Sophia; Søren; Stella; Stephen
Sunita; Sven; Tamar; Tara; Tariq; Tatiana; Teresa; Terrence; Thảo; Thiago; Thomas; Tiana; Tomás; Trinity; Tyler
Uchenna; Valentina; Vanessa; Víctor; Victoria; Vikram; Violet; Wei; William; Ximena; Xavier; Yara; Yasmin; Yuki
Yusuf; Zachary; Zahra; Zainab; Zoë; Zofia; Zuri
""")

FAMILY = _listed("""
Abdullah; Abebe; Abrams; Acosta; Adams; Adeyemi; Aguilar; Ahmed; Alexander; Ali; Allen; Álvarez; Andersen
Anderson; Andrews; Aoki; Araújo; Armstrong; Arroyo; Asante; Avila; Bailey; Baker; Banerjee; Barnes; Bautista
Becker; Begay; Bélanger; Bell; Benítez; Bennett; Bergström; Bianchi; Blackwood; Bose; Boyd; Brooks; Brown; Bùi
Burke; Butler; Byrne; Cabrera; Calderón; Campbell; Cárdenas; Carter; Castillo; Castro; Chang; Chatterjee; Chávez
Chen; Cheng; Cho; Choi; Clark; Cohen; Coleman; Collins; Contreras; Cook; Cooper; Cortés; Cox; Cruz; D'Angelo
D'Souza; da Silva; Dang; Davies; Davis; de Jong; de la Cruz; De León; del Río; Delgado; Desai; Diallo; Díaz
Dimitrov; Đặng; Domínguez; Dubois; Duarte; Dunn; Edwards; Eriksson; Espinoza; Estrada; Evans; Eze; Farah
Fernández; Ferreira; Fischer; Fisher; Flores; Ford; Foster; Franco; Friedman; Fuentes; Fujimoto; Gallagher; García
García-López; Garza; Ghosh; Gibson; Goldberg; Gómez; Gonçalves; González; Gordon; Graham; Grant; Gray; Green
Griffin; Gupta; Gutiérrez; Guzmán; Haddad; Hall; Hamilton; Hansen; Harris; Hassan; Hayes; Henderson; Hernández
Herrera; Hill; Ho; Hoàng; Hoffman; Holmes; Howard; Hu; Huang; Hughes; Hussain; Ibarra; Ibrahim; Inoue; Ishikawa
Ivanov; Jackson; James; Jansen; Jefferson; Jenkins; Jensen; Jiménez; Johansson; Johnson; Jones; Joseph; Juárez
Kaur; Kelly; Khan; Khoury; Kim; King; Klein; Kowalski; Kumar; Kuznetsov; Lam; Larsen; Le; Lee; Leung; Lévesque
Levy; Lewis; Li; Lim; Lin; Liu; Long; López; Lozano; Łukasik; Luna; Ma; MacDonald; Machado; Maldonado; Marín
Marshall; Martin; Martínez; Mason; Matsumoto; Mbeki; McCarthy; McKenzie; Medina; Mehta; Mejía; Méndez; Mendoza
Meyer; Miller; Mitchell; Molina; Montoya; Moore; Morales; Moreau; Moreno; Morgan; Moretti; Müller; Muñoz; Murphy
Nakamura; Navarro; Nelson; Ng; Nguyễn; Nguyen; Nielsen; Novák; Nowak; Núñez; Nwosu; O'Brien; O'Connor; O'Neill
Ochoa; Okafor; Okeke; Oliveira; Olsen; Ortega; Ortiz; Osei; Owens; Pacheco; Padilla; Parath; Park; Parker; Patel
Peña; Pereira; Pérez; Pérez-Quiñones; Peterson; Petrov; Phạm; Phillips; Popescu; Powell; Price; Quintero; Rahman
Ramírez; Ramos; Rao; Reddy; Reed; Reyes; Reynolds; Richardson; Ríos; Rivera; Roberts; Robinson; Rodríguez; Rogers
Rojas; Romano; Romero; Rosales; Ross; Rossi; Russo; Ruiz; Ryan; Saito; Salazar; Saleh; Sánchez; Sanders; Sandoval
Santiago; Santos; Sato; Schmidt; Schneider; Schwartz; Scott; Serrano; Shah; Sharma; Silva; Simmons; Singh; Smith
Smith-Jones; Sørensen; Soto; St. John; Stein; Stewart; Sullivan; Suzuki; Svensson; Takahashi; Tan; Tanaka; Taylor
Thao; Thomas; Thompson; Torres; Tran; Trujillo; Tsosie; Turner; Valdez; van der Berg; Vargas; Vásquez; Vega
Velasco; Villanueva; Wagner; Walker; Wang; Ward; Washington, Jr.; Watanabe; Watson; Weber; White; Williams; Wilson
Wójcik; Wong; Wood; Wright; Wu; Xiong; Yamamoto; Yang; Yazzie; Yilmaz; Young; Yusuf; Zamora; Zapata; Zhang; Zhao
Zimmerman; Zúñiga
""")

SCHOOL_FIRST = _listed("""
Alder; Amber; Aspen; Bay; Beacon; Birch; Blue; Bright; Brook; Canyon; Cedar; Cherry; Clear; Cliff; Clover; Copper
Cottonwood; Crystal; Deer; Desert; Eagle; East; Elm; Evergreen; Falcon; Fern; Forest; Fox; Garden; Golden; Grand
Granite; Green; Hawthorn; Heron; Hickory; High; Iron; Juniper; Lake; Laurel; Linden; Magnolia; Maple; Meadow; Mesa
Mill; North; Oak; Orchard; Palm; Pine; Pioneer; Prairie; Red; River; Rose; Silver; South; Spring; Stone; Sun
Sycamore; Willow
""")

SCHOOL_SECOND = _listed("""
Bank; Bend; Bluff; Branch; Bridge; Cliffs; Corner; Court; Cove; Creek; Crest; Crossing; Dale; Falls; Field; Fields
Flats; Ford; Gate; Glen; Grove; Harbor; Haven; Heights; Hill; Hills; Hollow; Island; Junction; Knoll; Landing
Ledge; Meadows; Mills; Mound; Park; Pass; Path; Place; Point; Pond; Ranch; Ridge; Rock; Run; Shore; Springs
Square; Station; Summit; Terrace; Trail; Vale; Valley; View; Village; Vista; Walk; Way; Woods
""")

STREETS = _listed("""
Maple Street; Oak Avenue; Second Street; Park Road; Lake Drive; Martin Luther King Jr. Boulevard; Calle Real
Hill Street; Church Road; Washington Avenue; Elm Court; Mill Lane
""")

LANGUAGES = _listed("English; English; English; English; Spanish; Spanish; Vietnamese; Arabic; Mandarin; Tagalog")
STAFF_TITLES = _listed("Principal; Counselor; Librarian")
